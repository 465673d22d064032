#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "mumoe/kernels/gate.h"
#include "mumoe/safetensors.h"
#include "tests/mumoe/kernels_gate_oracle.h"
#include "tests/support/golden_files.h"

namespace mumoe::testing {
namespace {

/// The numbers of one tensor of a golden file.
Values values(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(at::kDouble).contiguous();
  const double* first = wide.const_data_ptr<double>();
  return Values(first, first + wide.numel());
}

/// ‖a − b‖ / ‖b‖, or ‖a − b‖ where b is 0.
double distance(const Values& a, const Values& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(size > 0 ? difference / size : difference);
}

/// `tolerance` applies to logits of magnitude up to 1; rounding the logits
/// themselves to `E` costs in proportion to their magnitude.
template <class E>
void expect_golden(double tolerance) {
  for (const auto& path : golden_files("entmax15")) {
    const NamedTensors file = read_safetensors(path);
    int rows = 0;
    for (const auto& [name, tensor] : file.tensors) {
      if (!name.ends_with(".x")) continue;
      ++rows;
      const std::string row = name.substr(0, name.size() - 1);
      const auto x = stored<E>(values(tensor));
      const auto w = stored<E>(values(file.at(row + "w")));
      const std::int64_t experts = x.size();
      std::vector<E> y(x.size()), grad(x.size());
      kernels::gate_kernels.row<E>(best_isa())
          .forward(nullptr,
                   x.data(),
                   y.data(),
                   1,
                   experts,
                   kernels::RowNorm::none);
      kernels::gate_kernels.row<E>(best_isa())
          .backward(nullptr,
                    x.data(),
                    y.data(),
                    w.data(),
                    grad.data(),
                    1,
                    experts,
                    kernels::RowNorm::none);
      double magnitude = 1;
      for (const double v : values(tensor)) {
        magnitude = std::max(magnitude, std::abs(v));
      }
      const double allowed = tolerance * magnitude;
      EXPECT_LT(distance(loaded(y), values(file.at(row + "y"))), allowed)
          << name;
      const Values expected = values(file.at(row + "grad"));
      double scale = 0;  // of the gradient's terms, which may cancel
      for (const double v : values(file.at(row + "w"))) {
        scale = std::max(scale, std::abs(v));
      }
      for (std::size_t n = 0; n < x.size(); ++n) {
        EXPECT_NEAR(grad[n], expected[n], allowed * scale) << name << " " << n;
      }
    }
    EXPECT_GT(rows, 0) << path;
  }
}

TEST(GateGolden, Double) {
  expect_golden<double>(1e-12);
}
TEST(GateGolden, Float) {
  expect_golden<float>(1e-5);
}

}  // namespace
}  // namespace mumoe::testing
