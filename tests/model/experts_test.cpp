// The experts of a GPT-2, seen and edited from outside, and its weights from a
// checkpoint.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <memory>

#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "model/gpt2.h"
#include "model/weights.h"
#include "tests/support/errors.h"
#include "tests/support/parameters.h"
#include "tests/support/scratch.h"

namespace mumoe::model {
namespace {

using at::Tensor;
using testing::expect_input_error;

struct SmallGpt2 {
  explicit SmallGpt2(std::int64_t experts = 5)
      : self(dist::make_self_communicator(at::kCPU)),
        registry(*self, at::kFloat, at::kCPU),
        gpt2({.depth = 3,
              .heads = 2,
              .width = 8,
              .context = 6,
              .vocab = 11,
              .mlp = {.hidden_dim = 16, .experts = {experts}, .ranks = {3}}},
             registry),
        buckets(registry, 1 << 10) {}

  std::unique_ptr<dist::Communicator> self;
  dist::ParameterRegistry registry;
  Gpt2 gpt2;
  dist::FlatBuckets buckets;
  Tensor tokens = at::arange(10, at::kLong).view({2, 5});
};

/// Values that move: a gate that starts at zero mixes all evenly.
void set_values(SmallGpt2& model) {
  const at::NoGradGuard no_grad;
  model.buckets.initialise(3);
  at::manual_seed(5);
  for (const auto& p : model.registry.parameters()) {
    Tensor value = p.value;
    value.add_(0.3 * at::randn(value.sizes()));
  }
}

TEST(Gpt2Experts, AreRefusedBeforeThereAreValues) {
  const SmallGpt2 model;
  expect_input_error([&] { model.gpt2.next_logits(model.tokens); },
                     {"no values"});
  expect_input_error([&] { model.gpt2.mixtures()[1]->materialize(0, {0}); },
                     {"h.1.mlp.", "no values"});
}

TEST(Gpt2Experts, CanBeSeenAndEdited) {
  SmallGpt2 model;
  set_values(model);
  const auto blocks = model.gpt2.mixtures();
  ASSERT_EQ(blocks.size(), 3u);
  std::vector<Tensor> a(blocks.size());
  for (std::size_t l = 0; l < a.size(); ++l) {
    EXPECT_EQ(blocks[l]->prefix(), fmt::format("h.{}.mlp.", l));
    blocks[l]->watch(
        [&a, l](const std::vector<Tensor>& levels) { a[l] = levels.at(0); });
  }
  const Tensor logits = model.gpt2.next_logits(model.tokens);
  for (const Tensor& level : a) {
    EXPECT_EQ(level.sizes(), (std::vector<std::int64_t>{10, 5}));
    EXPECT_LT((level.sum(1) - 1).abs().max().item<double>(), 1e-6);
  }
  EXPECT_FALSE(at::equal(a[0], a[2]));
  EXPECT_EQ(blocks[1]->materialize(1, {4}).matrix.sizes(),
            (std::vector<std::int64_t>{16, 8}));
  model.gpt2.blocks()[1]->keep_experts(0, {2});
  EXPECT_FALSE(at::equal(model.gpt2.next_logits(model.tokens), logits));
  EXPECT_EQ(a[1].select(1, 0).abs().max().item<double>(), 0);
  model.gpt2.blocks()[1]->clear_edits();
  EXPECT_TRUE(at::equal(model.gpt2.next_logits(model.tokens), logits));
}

TEST(Gpt2Experts, ComeFromACheckpoint) {
  const testing::ScratchFolder folder;
  const auto file = folder.path() / "state.safetensors";
  SmallGpt2 model;
  set_values(model);
  NamedTensors saved;
  for (const auto& p : model.registry.parameters()) {
    saved.tensors["master." + p.name] = p.value;
    saved.tensors["adam_m." + p.name] = at::zeros_like(p.value);
  }
  write_safetensors(file, saved);
  SmallGpt2 other;
  load_weights(file, other.buckets);
  const Tensor logits = other.gpt2.next_logits(other.tokens);
  EXPECT_TRUE(at::equal(logits, model.gpt2.next_logits(model.tokens)));

  SmallGpt2 wider(6);
  expect_input_error([&] { load_weights(file, wider.buckets); },
                     {file.string(), "gate.0", "[8, 5]", "[8, 6]"});
  expect_input_error([&] { wider.gpt2.next_logits(wider.tokens); },
                     {"no values"});
  saved.tensors.erase("master.ln_f.weight");
  saved.tensors["master.wte"] = saved.at("master.wte").detach() + 1;
  write_safetensors(file, saved);
  expect_input_error([&] { load_weights(file, other.buckets); },
                     {file.string(), "master.ln_f.weight"});
  EXPECT_TRUE(at::equal(logits, other.gpt2.next_logits(other.tokens)));
}

}  // namespace
}  // namespace mumoe::model
