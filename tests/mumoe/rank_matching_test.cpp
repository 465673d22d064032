#include "mumoe/rank_matching.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mumoe {
namespace {

using Ranks = std::vector<std::int64_t>;

const Form kCp = Form::cp;
const Form kRing = Form::tensor_ring;

// ---- The published models

/// GPT-2 124M: a norm of its own in every block; the gate sees the raw stream.
BlockShape gpt2_block(Form form, std::int64_t experts) {
  return {form, 768, 3072, 768, {experts}};
}

/// MLP-Mixer S/16 with 64 experts; norms are outside.
BlockShape mixer_block(Form form, std::int64_t dim, std::int64_t hidden) {
  return {form, dim, hidden, dim, {64}, true, false};
}

/// The classifier on top of CLIP ViT-B/32.
BlockShape clip_head(Form form, std::int64_t experts) {
  return {form, 768, 1000, 0, {experts}, true, false};
}

Ranks by_paper(const BlockShape& block, PaperFamily family) {
  return match_ranks(block, {.rule = RankRule::paper, .family = family});
}

Ranks by_budget(const BlockShape& block,
                std::int64_t budget,
                Rounding rounding = Rounding::floor) {
  return match_ranks(block, {.budget = budget, .rounding = rounding});
}

void expect_refused(const BlockShape& block,
                    const RankRequest& request,
                    const std::vector<std::string>& texts) {
  try {
    match_ranks(block, request);
    ADD_FAILURE() << "nothing was thrown; expected " << texts[0];
  } catch (const InputError& error) {
    const std::string what = error.what();
    EXPECT_EQ(what.find('\n'), std::string::npos);
    for (const std::string& text : texts)
      EXPECT_NE(what.find(text), std::string::npos) << what;
  }
}

TEST(RankMatching, Gpt2BlocksAndModels) {
  // nanoGPT's count, without position embeddings: token embeddings; a block's
  // first norm and attention; the last norm.
  const std::int64_t rest =
      50304 * 768 + 12 * (768 + 4 * 768 * 768) + std::int64_t{768};
  const std::int64_t dense = dense_mlp_parameters(768, 3072, 768, false, true);
  EXPECT_EQ(dense, 4'719'360);
  EXPECT_EQ(rest + 12 * dense, 123'587'328);
  struct Row {
    Form form;
    std::int64_t experts;
    Ranks ranks;
    std::int64_t model;
  };
  const Row rows[] = {
      {kCp, 64, {599}, 123'701'544},
      {kCp, 256, {556}, 124'003'104},
      {kRing, 64, {4, 4, 153}, 124'004'448},
      {kRing, 256, {4, 4, 149}, 124'372'704},
  };
  for (const Row& row : rows) {
    const BlockShape block = gpt2_block(row.form, row.experts);
    const Ranks ranks = by_paper(block, PaperFamily::gpt2);
    EXPECT_EQ(ranks, row.ranks);
    EXPECT_EQ(rest + 12 * parameter_count(block, ranks), row.model);
  }
  const std::int64_t positions = 1024 * 768;
  EXPECT_EQ(rest + 12 * dense + positions, 124'373'760);
  const BlockShape cp = gpt2_block(kCp, 256);
  EXPECT_EQ(parameter_count(cp, {556}), 4'754'008);
  EXPECT_EQ(macs_per_token(cp, {556}), 4'752'472);
  EXPECT_EQ(rest + 12 * parameter_count(cp, {556}) + positions, 124'789'536);
  const BlockShape ring = gpt2_block(kRing, 256);
  EXPECT_EQ(parameter_count(ring, {4, 4, 149}), 4'784'808);
  EXPECT_EQ(macs_per_token(ring, {4, 4, 149}), 4'788'040);
  EXPECT_EQ(rest + 12 * parameter_count(ring, {4, 4, 149}) + positions,
            125'159'136);
}

TEST(RankMatching, MixerBlocksAndModels) {
  // Stem 768 -> 512, head 512 -> 1000, two norms a block and the last one.
  const std::int64_t rest = (768 * 512 + 512) + (512 * 1000 + 1000) +
                            8 * 4 * 512 + std::int64_t{2 * 512};
  const std::int64_t rest_macs = std::int64_t{196} * 768 * 512 + 512 * 1000;
  const std::int64_t tokens = dense_mlp_parameters(196, 256, 196, true);
  const std::int64_t channels = dense_mlp_parameters(512, 2048, 512, true);
  EXPECT_EQ(tokens, 100'804);
  EXPECT_EQ(channels, 2'099'712);
  EXPECT_EQ(rest + 8 * (tokens + channels), 18'528'264);
  struct Row {
    Form form;
    Ranks token_ranks, channel_ranks;
    std::int64_t token_block, channel_block, model, mega_macs;
  };
  const Row rows[] = {
      {kCp, {147}, {384}, 164'542, 2'048'768, 18'630'616, 3964},
      {kRing, {4, 4, 37}, {4, 4, 97}, 148'680, 2'022'152, 18'290'792, 3867},
  };
  for (const Row& row : rows) {
    const BlockShape token = mixer_block(row.form, 196, 256);
    const BlockShape channel = mixer_block(row.form, 512, 2048);
    const Ranks token_ranks = by_paper(token, PaperFamily::mixer);
    const Ranks channel_ranks = by_paper(channel, PaperFamily::mixer);
    EXPECT_EQ(token_ranks, row.token_ranks);
    EXPECT_EQ(channel_ranks, row.channel_ranks);
    EXPECT_EQ(parameter_count(token, token_ranks), row.token_block);
    EXPECT_EQ(parameter_count(channel, channel_ranks), row.channel_block);
    EXPECT_EQ(rest + 8 * (row.token_block + row.channel_block), row.model);
    // An image: 196 patches, and 512 channels for the token-mixing blocks.
    const std::int64_t macs =
        rest_macs + 8 * (512 * macs_per_token(token, token_ranks) +
                         196 * macs_per_token(channel, channel_ranks));
    EXPECT_EQ((macs + 500'000) / 1'000'000, row.mega_macs);
  }
  const std::int64_t dense_macs =
      rest_macs +
      std::int64_t{8} * (512 * 2 * 196 * 256 + 196 * 2 * 512 * 2048);
  EXPECT_EQ((dense_macs + 500'000) / 1'000'000, 3777);
}

TEST(RankMatching, ClipHeadSweep) {
  const std::int64_t linear = dense_mlp_parameters(768, 1000, 0, true);
  EXPECT_EQ(linear, 769'000);
  struct Row {
    std::int64_t experts;
    std::int64_t cp_rank, cp_parameters;
    std::int64_t ring_rank, ring_matrix_rank, ring_parameters;
    std::int64_t cp_macs, ring_macs;  // without the gate's
  };
  const Row rows[] = {
      {16, 424, 769'128, 107, 428, 769'676, 756'840, 759'100},
      {32, 414, 770'190, 106, 424, 775'144, 745'614, 752'264},
      {64, 393, 769'521, 102, 408, 771'928, 720'369, 724'408},
      {128, 354, 769'842, 95, 380, 772'572, 671'538, 675'788},
      {256, 283, 769'683, 81, 324, 773'860, 573'075, 578'548},
      {512, 165, 769'581, 52, 208, 769'360, 376'365, 376'976},
      {768, 71, 769'951, 24, 96, 771'936, 180'127, 182'496},
      {960, 12, 770'028, 3, 12, 773'868, 32'748, 36'636},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.experts);
    BlockShape cp = clip_head(kCp, row.experts);
    const Ranks cp_ranks = by_paper(cp, PaperFamily::clip_head);
    EXPECT_EQ(cp_ranks, Ranks{row.cp_rank});
    EXPECT_EQ(by_budget(cp, linear, Rounding::ceil), cp_ranks);
    EXPECT_EQ(by_budget(cp, linear), Ranks{row.cp_rank - 1});
    EXPECT_EQ(parameter_count(cp, cp_ranks), row.cp_parameters);
    EXPECT_EQ(expert_matrix_rank(cp.layers(cp_ranks)[0]), row.cp_rank);
    cp.count_gate = false;
    EXPECT_EQ(macs_per_token(cp, cp_ranks), row.cp_macs);
    BlockShape ring = clip_head(kRing, row.experts);
    const Ranks ring_ranks = by_paper(ring, PaperFamily::clip_head);
    EXPECT_EQ(ring_ranks, (Ranks{4, 4, row.ring_rank}));
    EXPECT_EQ(parameter_count(ring, ring_ranks), row.ring_parameters);
    EXPECT_EQ(expert_matrix_rank(ring.layers(ring_ranks)[0]),
              row.ring_matrix_rank);
    ring.count_gate = false;
    EXPECT_EQ(macs_per_token(ring, ring_ranks), row.ring_macs);
  }
}

// ---- Automatic ranks

// The closed forms of rank_matching.h, and a budget met exactly.
TEST(RankMatching, AutomaticRanksOfTheGpt2Block) {
  const std::int64_t budget = dense_mlp_parameters(768, 3072, 768, false, true);
  const std::int64_t C = 768, H = 3072, O = 768, N = 256;
  BlockShape cp = gpt2_block(kCp, N);
  const std::int64_t per_rank = 2 * N + C + 2 * H + O + 2;
  EXPECT_EQ(by_budget(cp, budget), Ranks{551});
  EXPECT_EQ((budget - 2 * C - C * N) / per_rank, 551);
  const std::int64_t exact = 2 * C + C * N + 551 * per_rank;
  for (const Rounding rounding : {Rounding::floor, Rounding::ceil})
    EXPECT_EQ(by_budget(cp, exact, rounding), Ranks{551});
  EXPECT_EQ(by_budget(cp, exact - 1), Ranks{550});
  EXPECT_EQ(by_budget(cp, exact + 1, Rounding::ceil), Ranks{552});
  BlockShape ring = gpt2_block(kRing, N);
  ring.input_layer_norm = false;
  const std::int64_t r3 = (budget - C * N - 2 * 16 * N) /
                          (4 * (C + 1) + 4 * H + 4 * (H + 1) + 4 * O);
  EXPECT_EQ(by_budget(ring, budget), (Ranks{4, 4, r3}));
}

TEST(RankMatching, InnerRanks) {
  BlockShape block = gpt2_block(Form::tensor_train, 64);
  const auto inner = [&](Ranks ranks = {}) {
    Ranks all =
        match_ranks(block,
                    {.budget = 4'719'360, .inner_ranks = std::move(ranks)});
    return Ranks(all.begin(), all.begin() + block.experts.size() + 1);
  };
  EXPECT_EQ(inner(), (Ranks{1, 4}));
  EXPECT_EQ(inner({1, 7}), (Ranks{1, 7}));
  EXPECT_THROW(inner({2, 7}), InputError);
  EXPECT_THROW(inner({1}), InputError);
  block.form = kRing;
  block.experts = {16, 4};
  EXPECT_EQ(inner(), (Ranks{4, 4, 4}));
  block.form = Form::tucker;
  const Ranks two_levels = by_budget(block, 4'719'360);
  EXPECT_EQ(Ranks(two_levels.begin(), two_levels.begin() + 2), (Ranks{4, 4}));
  EXPECT_EQ(two_levels[2], two_levels[3]);
  block.experts = {64};
  EXPECT_EQ(by_budget(block, 4'719'360)[0], 16);
  block.experts = {9};
  EXPECT_EQ(by_budget(block, 4'719'360)[0], 9);
  block.experts = {8, 1, 8, 8};
  EXPECT_EQ(inner(), (Ranks{2, 1, 2, 2, by_budget(block, 4'719'360)[4]}));
  block.form = kCp;
  expect_refused(block,
                 {.budget = 4'719'360, .inner_ranks = {4}},
                 {"2 given, expected 1 (R)"});
}

// ---- What is refused

TEST(RankMatching, ABudgetTooSmallIsRefusedWithTheNumbers) {
  const std::int64_t linear = 769'000;
  // The gate leaves 232 parameters; one rank is 2770 of them.
  expect_refused(
      clip_head(kCp, 1001),
      {.budget = linear},
      {"cp block 768 -> 1000 with 1001 experts", "771538", "769000"});
  expect_refused(clip_head(kRing, 1001),
                 {.rule = RankRule::paper, .family = PaperFamily::clip_head},
                 {"tr block 768 -> 1000", "784784", "769000"});
  // The gate alone is 769,536.
  expect_refused(clip_head(kCp, 1002),
                 {.rule = RankRule::paper, .family = PaperFamily::clip_head},
                 {"769536", "769000"});
  EXPECT_EQ(by_paper(clip_head(kCp, 1000), PaperFamily::clip_head), Ranks{1});
  expect_refused(clip_head(kCp, 64), {.budget = 0}, {"budget: 0"});
  expect_refused(clip_head(kCp, 64),
                 {.budget = std::int64_t{1} << 60},
                 {"expected 1 to 2^53"});
  expect_refused({kCp, 768, 1000, 0, {}}, {.budget = linear}, {"0 levels"});
  expect_refused({kCp, 768, 0, 0, {4}}, {.budget = linear}, {"outputs: 0"});
}

TEST(RankMatching, WhatTheAuthorsDoNotDefineIsRefused) {
  const auto expect_no_rank = [](BlockShape block,
                                 PaperFamily family,
                                 const std::string& text) {
    expect_refused(block, {.rule = RankRule::paper, .family = family}, {text});
  };
  using enum PaperFamily;
  expect_no_rank(gpt2_block(kCp, 128), gpt2, "expected 64 or 256 experts");
  expect_no_rank(gpt2_block(kRing, 128), gpt2, "expected 64 or 256 experts");
  BlockShape block = gpt2_block(kCp, 256);
  expect_no_rank(block, mixer, "no rank of mixer by the authors, expected 64");
  expect_no_rank(block, clip_head, "single layer, expected output dim 0");
  block.experts = {256, 2};
  expect_no_rank(block, gpt2, "expected one level of experts");
  expect_no_rank(gpt2_block(Form::tucker, 64), gpt2, "expected cp or tr");
  expect_no_rank(gpt2_block(Form::tensor_train, 64), gpt2, "expected cp or tr");
  block = gpt2_block(kCp, 64);
  block.input_dim = 1;
  expect_no_rank(block, gpt2, "780/1000");
  block.input_dim = 0;
  expect_no_rank(block, gpt2, "inputs: 0");
  // The multiplier follows the width: 0.78 of 1024, as for GPT-2 medium.
  block.input_dim = 1024;
  EXPECT_EQ(by_paper(block, gpt2), Ranks{798});
}

}  // namespace
}  // namespace mumoe
