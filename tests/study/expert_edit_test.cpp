#include "study/experts/expert_edit.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "dist/process_mesh.h"
#include "run/load_checkpoint.h"
#include "run/resume.h"
#include "run/run_directory.h"
#include "study/experts/edited_run.h"
#include "tests/study/error_of.h"
#include "tests/support/save_checkpoint.h"
#include "tests/support/scratch.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_head.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::study {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using testing::error_of;
using testing::ShardedModel;

/// The settings of a run of `config` in fp64.
run::Options options_of(const model::ModelConfig& config,
                        const std::string& family) {
  run::Options options;
  options.family = family;
  options.model = config;
  options.model.mlp.input_dim = options.model.mlp.output_dim = 0;
  if (!config.dense) {
    options.rank = fmt::format("{}", fmt::join(config.mlp.ranks, ","));
  }
  options.precision = run::Precision::fp64;
  return options;
}

/// Makes a run directory of the weights in `buckets`.
void write_run(const fs::path& out,
               const run::Options& options,
               const dist::FlatBuckets& buckets) {
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ProcessMesh mesh(*self, 1, 1);
  fs::create_directories(out);
  write_file_atomically(out / "config.cfg", run::to_config_text(options));
  testing::save_checkpoint(out / "checkpoints",
                           {.step = 3, .settings = run::settings_of(options)},
                           buckets,
                           {},
                           mesh);
}

double error_between(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}

struct GptRun {
  explicit GptRun(const std::string& name) {
    static const auto cases = testing::sharded_cases();
    config =
        std::ranges::find(cases, name, &testing::ShardedCase::name)->config;
    whole = std::make_unique<ShardedModel>(config,
                                           Plan::bottleneck,
                                           *self,
                                           at::kDouble);
    write_run(folder.path() / "run",
              options_of(config, "gpt2"),
              whole->buckets);
  }
  EditRequest request(ExpertEdit edit) const {
    return {.from = folder.path() / "run",
            .to = folder.path() / "edited",
            .gate = "h.1.mlp",
            .level = static_cast<int>(config.mlp.experts.size()) - 1,
            .edit = std::move(edit)};
  }

  testing::ScratchFolder folder;
  model::ModelConfig config;
  std::unique_ptr<dist::Communicator> self =
      dist::make_self_communicator(at::kCPU);
  std::unique_ptr<ShardedModel> whole;
  Tensor tokens = testing::random_tokens(3, 8, 19);
};

TEST(ExpertEdit, OfARunIsTheBlocksAtAnyLayout) {
  for (const std::string name : {"cp_23",
                                 "cp_7_two_levels",
                                 "tr_3_2_6_two_levels",
                                 "tt_1_3_7",
                                 "tucker_3_5_6"}) {
    GptRun run(name);
    const EditRequest request =
        run.request({.remove = {1}, .keep = {0, 1, 3}, .scale = {{0, -1.7}}});
    write_edited_run(request);
    const Tensor before = run.whole->gpt2.next_logits(run.tokens);
    const auto level = static_cast<std::size_t>(request.level);
    MuMoEBlock& block = *run.whole->gpt2.blocks()[1];
    block.keep_experts(level, {0, 1, 3});
    block.scale_expert(level, 0, -1.7);
    block.remove_expert(level, 1);
    const Tensor expected = run.whole->gpt2.next_logits(run.tokens);
    EXPECT_GT(error_between(before, expected), 1e-3) << name;

    // By hand: the same rows of both layers' factors.
    block.clear_edits();
    for (const Factors& layer : block.layers()) {
      const at::NoGradGuard no_grad;
      Tensor u = layer.expert[level];
      u[0].mul_(-1.7);
      u[1].zero_();
      u.narrow(0, 2, 1).zero_();
      u.narrow(0, 4, u.size(0) - 4).zero_();
    }
    EXPECT_LT(error_between(run.whole->gpt2.next_logits(run.tokens), expected),
              1e-12)
        << name;

    const auto opened = run::open_run(request.to);
    for (const auto& [dp, tp] : {std::pair(1, 1), {2, 1}, {1, 2}, {2, 2}}) {
      dist::ThreadWorld::run(dp * tp, [&](dist::Communicator& world) {
        dist::ProcessMesh mesh(world, dp, tp);
        for (const Plan plan : {Plan::bottleneck, Plan::rank}) {
          if (plan == Plan::rank && tp == 1) continue;
          ShardedModel model(opened.options.model,
                             plan,
                             mesh.tp(),
                             at::kDouble);
          dist::FlatBuckets buckets(model.registry, mesh, {.bytes = 1 << 12});
          run::load_checkpoint(opened.checkpoint, buckets, {}, mesh.control());
          EXPECT_LT(error_between(model.gpt2.next_logits(run.tokens), expected),
                    1e-12)
              << name << " " << dp << " x " << tp;
        }
      });
    }
  }
}

TEST(ExpertEdit, SaysWhatItWas) {
  GptRun run("cp_23");
  EditRequest request = run.request({.remove = {5}, .scale = {{2, 0.5}}});
  request.level = -1;
  const auto lines = write_edited_run(request);
  EXPECT_EQ(lines.at(1), "edit  h.1.mlp: 1 of 6 experts removed, 1 scaled");
  const auto said = parse_json(read_file(request.to / "provenance.json"), "");
  EXPECT_EQ(said["weights_from"], request.from.string());
  EXPECT_EQ(said["edit"]["gate"], "h.1.mlp");
  EXPECT_EQ(said["edit"]["remove"], nlohmann::json({5}));
  EXPECT_EQ(said["edit"]["scale"]["2"], 0.5);
  const auto opened = run::open_run(request.to);
  EXPECT_EQ(opened.options.trainer.out, request.to);
  EXPECT_EQ(opened.options.rank, "23");
}

TEST(ExpertEdit, RefusesWhatCannotBe) {
  GptRun run("cp_7_two_levels");
  const auto refused = [&](const EditRequest& request) {
    const std::string said = error_of([&] { write_edited_run(request); });
    EXPECT_FALSE(fs::exists(run.folder.path() / "edited")) << said;
    return said;
  };
  const std::string from = (run.folder.path() / "run").string();
  EXPECT_EQ(refused(run.request({})),
            "--run " + from +
                ": nothing is edited; expected --remove, --keep, --scale or "
                "--shift");
  EXPECT_EQ(refused(run.request({.remove = {5}})),
            "--remove 5: expected an expert from 0 to 4");
  EXPECT_EQ(refused(run.request({.scale = {{-1, 2.0}}})),
            "--scale -1: expected an expert from 0 to 4");
  EditRequest request = run.request({.keep = {1}});
  request.level = -1;
  EXPECT_EQ(refused(request),
            "--gate h.1.mlp: several gates of " + from +
                "; expected one of h.0.mlp level 0, h.0.mlp level 1, h.1.mlp "
                "level 0, h.1.mlp level 1");
  request.gate = "h.7.mlp";
  EXPECT_NE(refused(request).find("--gate h.7.mlp: none of the gates of"),
            std::string::npos);
  request = run.request({.keep = {1}});
  request.shift = {.direction = {1, 2, 3, 4, 5}, .of_class = {{0, 1.0}}};
  EXPECT_NE(refused(request).find("--shift: h.1.mlp level 1 is no head"),
            std::string::npos);
  fs::create_directories(run.folder.path() / "there" / "already");
  request.to = run.folder.path() / "there";
  EXPECT_EQ(error_of([&] { write_edited_run(request); }),
            "--to " + request.to.string() +
                ": is there already; expected the name of a folder to be made");
  GptRun dense("dense");
  EXPECT_NE(error_of([&] {
              write_edited_run(dense.request({.keep = {1}}));
            }).find("its model has no experts"),
            std::string::npos);
}

/// A head, its logits with and without a shift.
void expect_shift(const testing::HeadCase& head) {
  SCOPED_TRACE(head.name);
  const testing::ScratchFolder folder;
  const auto self = dist::make_self_communicator(at::kCPU);
  testing::HeadOnMesh model(head.config, *self);
  for (MuMoEBlock* block : model.model.blocks()) block->set_training(false);
  write_run(folder.path() / "run",
            options_of(head.config, "head"),
            model.buckets);
  const std::size_t level = head.config.mlp.experts.size() - 1;
  LogitShift shift{.direction = {}, .of_class = {{2, 1.5}, {6, -0.25}}};
  for (std::int64_t n = 0; n < head.config.mlp.experts[level]; ++n) {
    shift.direction.push_back(0.3 * static_cast<double>(n) - 0.4);
  }
  const EditRequest request{.from = folder.path() / "run",
                            .to = folder.path() / "edited",
                            .level = static_cast<int>(level),
                            .edit = {.remove = {2}},
                            .shift = shift};
  const auto batch = testing::made_up_features(head.config, 9);
  std::vector<Tensor> seen;
  MuMoEBlock& block = *model.model.blocks()[0];
  block.watch([&](const std::vector<Tensor>& a) { seen = a; });
  model.model.logits(batch.input);
  const Tensor a_TN = seen.at(level);
  block.remove_expert(level, 2);
  Tensor expected = model.model.logits(batch.input).clone();
  const Tensor v = at::tensor(at::ArrayRef<double>(shift.direction));
  for (const auto& [o, lambda] : shift.of_class) {
    expected.select(1, o).add_(a_TN.matmul(v), lambda);
  }

  write_edited_run(request);
  const auto opened = run::open_run(request.to);
  testing::HeadOnMesh edited(opened.options.model, *self);
  run::load_checkpoint(opened.checkpoint,
                       edited.buckets,
                       {},
                       edited.mesh.control());
  EXPECT_LT(error_between(edited.model.logits(batch.input), expected), 1e-12);
}

TEST(LogitShift, IsWrittenIntoTheFactorsOfAHead) {
  int heads = 0;
  for (const testing::HeadCase& head : testing::head_cases()) {
    if (head.config.head != model::HeadKind::mixture) continue;
    if (!head.config.mlp.expert_bias) continue;
    expect_shift(head);
    ++heads;
  }
  EXPECT_GE(heads, 5);
}

TEST(LogitShift, RefusesWhatCannotBe) {
  const LayerShape shape{Form::cp, 4, 3, {5}, {2}, /*bias=*/false};
  EXPECT_EQ(error_of([&] { shape_with_shift(shape); }),
            "--shift: is written into the experts' biases; expected "
            "model.expert_bias = yes");
  Factors factors;
  factors.expert = {at::ones({5, 2}, at::kDouble)};
  factors.input = at::ones({4, 2}, at::kDouble);
  factors.input_bias = at::ones({2}, at::kDouble);
  factors.output = at::ones({3, 2}, at::kDouble);
  EXPECT_EQ(error_of([&] {
              with_shift(factors, 0, {{1, 2, 3}, {{0, 1.0}}});
            }),
            "--shift: a direction of 3 numbers; expected one for each of 5 "
            "experts");
  EXPECT_EQ(error_of([&] {
              with_shift(factors, 0, {{1, 2, 3, 4, 5}, {{3, 1.0}}});
            }),
            "--shift 3=1: expected a class from 0 to 2");
}

}  // namespace
}  // namespace mumoe::study
