// One μMoE block against the reference (tests/golden): output, coefficients and
// every gradient.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "dist/gradient_reducer.h"
#include "dist/self_communicator.h"
#include "model/safetensors.h"
#include "mumoe/block.h"
#include "tests/support/golden_files.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using model::NamedTensors;

BlockConfig config_of(const NamedTensors& file) {
  const auto& m = file.metadata;
  return {.input_dim = std::stoll(m.at("input_dim")),
          .hidden_dim = std::stoll(m.at("hidden_dim")),
          .output_dim = std::stoll(m.at("second_dim")),
          .experts = testing::golden_numbers(m.at("experts")),
          .rank = std::stoll(m.at("ranks")),
          .gate_norm = GateNorm::layer,
          .input_layer_norm = m.at("input_layer_norm") == "1",
          .expert_bias = m.at("bias") == "1"};
}

/// The file's tensor for one of our parameters: a bias row is the last row of
/// its input factor there.
at::Tensor golden_value(const NamedTensors& file,
                        const std::string& prefix,
                        const std::string& name,
                        bool bias) {
  if (name.ends_with("input_bias")) {
    return file.at(prefix + name.substr(0, name.size() - 5))[-1];
  }
  const at::Tensor& value = file.at(prefix + name);
  if (bias && name.ends_with(".input")) {
    return value.narrow(0, 0, value.size(0) - 1);
  }
  return value;
}

void run(const NamedTensors& file, at::ScalarType dtype, double tolerance) {
  const BlockConfig config = config_of(file);
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self, dtype, at::kCPU);
  const MuMoEBlock block(config, "", registry);
  dist::FlatBuckets buckets(registry, 1 << 16);
  NamedTensors weights;
  for (const auto& p : registry.parameters()) {
    weights.tensors[p.name] =
        golden_value(file, "", p.name, config.expert_bias);
  }
  testing::set_weights(buckets, weights);
  dist::GradientReducer reducer(buckets, *self);

  at::Tensor x = file.at("x").to(dtype).clone();
  x.requires_grad_(true);
  const at::Tensor y = block.forward(x);
  reducer.begin(true);
  (y * file.at("w").to(dtype)).sum().backward();
  reducer.finish();

  using testing::relative_error;
  EXPECT_LT(relative_error(y, file.at("y")), tolerance);
  EXPECT_LT(relative_error(x.grad(), file.at("grad.x")), tolerance);
  const auto a = block.coefficients(x.detach().flatten(0, -2));
  for (std::size_t e = 0; e < a.size(); ++e) {
    const auto& expected = file.at(concat("a.", e));
    EXPECT_LT(relative_error(a[e], expected), tolerance) << "a." << e;
    EXPECT_TRUE(at::equal(a[e].flatten() == 0, expected.flatten() == 0))
        << "other experts are exactly zero";
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

TEST(BlockGolden, CpBlocksWithLayerNormGatesFollowTheReference) {
  int checked = 0;
  for (const auto& path : testing::golden_files("block_")) {
    const NamedTensors file = model::read_safetensors(path);
    if (file.metadata.at("layer") != "cp" ||
        file.metadata.at("gate_norm") != "ln") {
      continue;
    }
    ++checked;
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
  EXPECT_GT(checked, 0) << "no such fixture in " << testing::golden_folder();
}

}  // namespace
}  // namespace mumoe
