// One μMoE block against the reference (tests/golden): output, coefficients and
// every gradient.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cctype>
#include <map>

#include "dist/params/gradient_reducer.h"
#include "dist/self_communicator.h"
#include "mumoe/block.h"
#include "mumoe/safetensors.h"
#include "tests/support/golden_files.h"
#include "tests/support/gpu.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

/// "[[3, 0, 2], [2, 0, 5]]" or "3,2,5" as ranks: a zero stands for the dim that
/// is summed with an operand.
std::vector<std::int64_t> ranks_of(const std::string& text, Form form) {
  std::vector<std::int64_t> numbers;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (std::isdigit(static_cast<unsigned char>(text[i])) == 0) continue;
    std::size_t length = 0;
    numbers.push_back(std::stoll(text.substr(i), &length));
    i += length;
  }
  if (text.front() != '[') return numbers;
  if (form == Form::cp) return {numbers.front()};
  // Cores [r, 0, r'] in the order of the ring; the last one closes it.
  std::vector<std::int64_t> ranks;
  for (std::size_t i = 0; i + 2 < numbers.size(); i += 3) {
    ranks.push_back(numbers[i]);
  }
  return ranks;
}

BlockConfig config_of(const NamedTensors& file) {
  const auto& m = file.metadata;
  const std::map<std::string, Form> forms{{"cp", Form::cp},
                                          {"tr", Form::tensor_ring},
                                          {"tt", Form::tensor_train},
                                          {"tucker", Form::tucker}};
  const std::map<std::string, GateNorm> norms{{"ln", GateNorm::layer},
                                              {"bn", GateNorm::batch},
                                              {"none", GateNorm::none}};
  const Form form = forms.at(m.at("layer"));
  return {.input_dim = std::stoll(m.at("input_dim")),
          .hidden_dim = std::stoll(m.at("hidden_dim")),
          .output_dim = std::stoll(m.at("second_dim")),
          .experts = testing::golden_numbers(m.at("experts")),
          .form = form,
          .ranks = ranks_of(m.at("ranks"), form),
          .gate = {.norm = norms.at(m.at("gate_norm"))},
          .input_layer_norm = m.at("input_layer_norm") == "1",
          .expert_bias = m.at("bias") == "1"};
}

/// The file's tensor for one of our parameters. There, rings have the summed
/// dim in the middle, their output cores are [r3, O, r1], and a bias row is the
/// last row of its input factor.
at::Tensor golden_value(const NamedTensors& file,
                        const std::string& prefix,
                        std::string name,
                        bool bias) {
  const bool row = name.ends_with("input_bias");
  if (row) name.resize(name.size() - 5);
  at::Tensor value = file.at(prefix + name);
  if (value.dim() == 3 && !name.ends_with("core")) {
    value = name.ends_with("output") ? value.permute({1, 2, 0})
                                     : value.permute({1, 0, 2});
  }
  if (row) return value[-1].contiguous();
  if (bias && name.ends_with(".input")) {
    value = value.narrow(0, 0, value.size(0) - 1);
  }
  return value.contiguous();
}

void run(const NamedTensors& file, at::ScalarType dtype, double tolerance) {
  const BlockConfig config = config_of(file);
  const at::Device device = testing::test_device();
  const auto self = dist::make_self_communicator(device);
  dist::ParameterRegistry registry(*self, dtype, device);
  MuMoEBlock block(config, "", registry);
  const bool training = file.metadata.at("training") == "1";
  block.set_training(training);
  for (std::size_t e = 0; e < block.statistics().size(); ++e) {
    const auto& before = block.statistics()[e];
    const std::string name = fmt::format("gate_norm.{}.running_", e);
    before.running_mean.copy_(file.at(name + "mean"));
    before.running_var.copy_(file.at(name + "var"));
  }
  dist::FlatBuckets buckets(registry, 1 << 16);
  NamedTensors weights;
  for (const auto& p : registry.parameters()) {
    weights.tensors[p.name] =
        golden_value(file, "", p.name, config.expert_bias);
  }
  testing::set_weights(buckets, weights);
  dist::GradientReducer reducer(buckets);

  at::Tensor x = file.at("x").to(device, dtype).clone();
  x.requires_grad_(true);
  std::vector<at::Tensor> a;
  const at::Tensor y = block.forward(x, a);
  reducer.begin(true);
  (y * file.at("w").to(device, dtype)).sum().backward();
  reducer.finish();

  using testing::relative_error;
  EXPECT_LT(relative_error(y, file.at("y")), tolerance);
  EXPECT_LT(relative_error(x.grad(), file.at("grad.x")), tolerance);
  ASSERT_EQ(a.size(), config.experts.size());
  for (std::size_t e = 0; e < a.size(); ++e) {
    const auto& expected = file.at(fmt::format("a.{}", e));
    EXPECT_FALSE(a[e].requires_grad());
    EXPECT_LT(relative_error(a[e], expected), tolerance) << "a." << e;
    EXPECT_TRUE(at::equal(a[e].cpu().flatten() == 0, expected.flatten() == 0))
        << "other experts are exactly zero";
  }
  for (std::size_t e = 0; e < block.statistics().size(); ++e) {
    const auto& after = block.statistics()[e];
    const std::string name =
        fmt::format("{}gate_norm.{}.running_", training ? "after." : "", e);
    EXPECT_LT(relative_error(after.running_mean, file.at(name + "mean")),
              tolerance);
    EXPECT_LT(relative_error(after.running_var, file.at(name + "var")),
              tolerance);
  }
  const auto found = testing::whole_tensors(buckets, &dist::Bucket::grad);
  for (const auto& [name, gradient] : found.tensors) {
    EXPECT_LT(
        relative_error(gradient,
                       golden_value(file, "grad.", name, config.expert_bias)),
        tolerance)
        << "gradient of " << name;
  }
}

TEST(BlockGolden, BlocksFollowTheReference) {
  for (const auto& path : testing::golden_files("block_")) {
    const NamedTensors file = read_safetensors(path);
    SCOPED_TRACE(path.filename().string());
    {
      SCOPED_TRACE("fp64");
      run(file, at::kDouble, 1e-9);
    }
    {
      SCOPED_TRACE("fp32");
      run(file, at::kFloat, 1e-4);
    }
  }
}

}  // namespace
}  // namespace mumoe
