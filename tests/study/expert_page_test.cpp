#include "study/report/expert_page.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/file.h"
#include "base/json.h"
#include "data/text/token_windows.h"
#include "dist/process_mesh.h"
#include "mumoe/safetensors.h"
#include "study/experts/delphi.h"
#include "study/experts/prompts.h"
#include "study/report/expert_json.h"
#include "study/report/picture_file.h"
#include "study/report/sprite.h"
#include "tests/study/error_of.h"
#include "tests/study/markup.h"
#include "tests/support/scratch.h"
#include "tests/support/sharded_model.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::study {
namespace {

using testing::count_of;
using testing::error_of;
using testing::ShardedModel;

constexpr std::int64_t kContext = 8;
constexpr std::int64_t kWindows = 13;
constexpr std::int64_t kPerExpert = 3;

const model::ModelConfig& config_of(const std::string& name) {
  static const auto cases = testing::sharded_cases();
  return std::ranges::find(cases, name, &testing::ShardedCase::name)->config;
}

/// Windows of tokens that the small models know; as bytes they are characters
/// of control, a < and half of others.
struct Windows {
  testing::ScratchFolder folder;
  data::TokenFile tokens = make(folder.path() / "tokens.bin");
  std::shared_ptr<const data::Samples> samples =
      std::make_shared<data::TokenWindows>(tokens, kContext);
  std::vector<std::uint64_t> indices = [] {
    std::vector<std::uint64_t> all(kWindows);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }();

  static data::TokenFile make(const std::filesystem::path& path) {
    const CounterRandom random(8, Purpose::test);
    std::vector<std::uint16_t> tokens;
    for (std::uint64_t i = 0; i < kWindows * kContext + 1; ++i) {
      tokens.push_back(static_cast<std::uint16_t>(random.below(i, 19)));
    }
    data::write_token_file(path, tokens);
    return data::TokenFile(path);
  }
};

/// What a small GPT-2's experts do, over `dp` ranks, with its coefficients
/// exported into `delphi` unless that is empty.
ExpertStudy study_of(const std::string& name,
                     const Windows& windows,
                     int dp,
                     const std::filesystem::path& delphi = {}) {
  ExpertStudy found;
  std::mutex mutex;
  dist::ThreadWorld::run(dp, [&](dist::Communicator& world) {
    dist::ProcessMesh mesh(world, dp, 1);
    ShardedModel model(config_of(name),
                       Plan::bottleneck,
                       mesh.tp(),
                       at::kFloat);
    const RoutingPass pass(model.gpt2, {mesh, at::kCPU}, "a run");
    ExpertStudy study;
    study.facts.run = "runs/<one>";
    study.facts.samples = kWindows;
    study.per_expert = kPerExpert;
    study.threshold = 0.3;
    study.material.samples = windows.samples;
    study.material.tokenizer = std::make_shared<data::ByteTokenizer>();
    ExamplePicker picker(pass.gates(), {kPerExpert, study.threshold, 1});
    ExpertLoad load(pass.gates(), study.threshold);
    LevelPairs pairs(pass.gates());
    Tracer tracer(pass.gates(), {4});
    std::optional<DelphiExport> cache;
    if (!delphi.empty()) {
      cache.emplace(delphi, study.material, pass.gates(), windows.indices);
    }
    pass.run(*windows.samples,
             train::in_batches(windows.indices, 4),
             [&](const RoutedBatch& batch) {
               picker.add(batch);
               load.add(batch);
               pairs.add(batch);
               tracer.add(batch);
               if (cache) cache->add(batch);
             });
    study.examples = picker.finish(world, true);
    study.loads = load.finish(world, true);
    study.pairs = pairs.finish(world, true);
    study.units = units_of(study.loads, {}, true);
    study.shown.push_back({.title = "sample 4",
                           .sample = 4,
                           .tokens = tokens_of(*windows.samples, 4),
                           .trace = tracer.finish(world, true)[0]});
    study.look = {kPerExpert, 2, 3, true};
    CloserLook closer(model.gpt2, pass.gates(), study.examples, study.look);
    pass.run(*windows.samples,
             train::in_batches(closer.samples(), 4),
             [&](const RoutedBatch& batch) { closer.add(batch); });
    study.surroundings = closer.finish(world, true);
    const Unembedding head = unembedding_of(model.registry);
    for (std::size_t g = 0; g < study.loads.size(); ++g) {
      const Gate& gate = pass.gates()[g];
      study.promoted.push_back(
          promoted_tokens(*model.gpt2.mixtures()[gate.mixture],
                          gate.level,
                          study.examples[g],
                          study.surroundings[g],
                          head,
                          21,
                          4));
    }
    if (cache) cache->finish(world, true, study.facts);
    const std::lock_guard lock(mutex);
    if (world.rank() == dp - 1) found = std::move(study);
  });
  return found;
}

TEST(PromotedTokens, AreOfWhatTheBlockLosesWithoutTheExpert) {
  const Windows windows;
  for (const std::string name : {"cp_23", "tr_3_2_6_two_levels"}) {
    const ExpertStudy study = study_of(name, windows, 1);
    const auto self = dist::make_self_communicator(at::kCPU);
    ShardedModel model(config_of(name), Plan::bottleneck, *self, at::kFloat);
    const at::NoGradGuard no_grad;
    for (std::size_t g = 0; g < study.loads.size(); ++g) {
      const Gate& gate = study.loads[g].gate;
      MuMoEBlock& block = *model.gpt2.blocks()[gate.mixture];
      const GateSurroundings& about = study.surroundings[g];
      const at::Tensor parts =
          mean_parts(block, gate.level, study.examples[g], about);
      for (std::int64_t n = 0; n < gate.experts; ++n) {
        const auto count = std::ssize(study.examples[g][n].top);
        if (count == 0) continue;
        const at::Tensor x = about.input.narrow(0, n * kPerExpert, count);
        const at::Tensor with = block.forward(x);
        block.remove_expert(gate.level, n);
        const at::Tensor lost = (with - block.forward(x)).mean(0);
        block.clear_edits();
        EXPECT_GT(lost.abs().max().item<double>(), 1e-4);
        EXPECT_LT((parts[n] - lost).abs().max().item<double>(), 1e-5)
            << name << " " << gate.name << " expert " << n;
      }
    }
  }
}

TEST(ExpertPage, IsTheSameOverAnyNumberOfRanks) {
  const Windows windows;
  const ExpertStudy one = study_of("cp_7_two_levels", windows, 1);
  const std::string data = expert_page_data(one, kPerExpert);
  const std::string json = expert_json(one);
  for (const int dp : {2, 3}) {
    const ExpertStudy several = study_of("cp_7_two_levels", windows, dp);
    EXPECT_EQ(expert_page_data(several, kPerExpert), data) << dp << " ranks";
    EXPECT_EQ(expert_json(several), json);
  }
}

TEST(ExpertPage, NeedsNothingElse) {
  const Windows windows;
  const ExpertStudy study = study_of("cp_7_two_levels", windows, 1);
  const std::string page = expert_page(study);
  EXPECT_NE(page.find("default-src 'none'"), page.npos);
  for (const std::string_view outside : {"http:",
                                         "https:",
                                         "src=",
                                         " href=\"h",
                                         "import(",
                                         "fetch(",
                                         "@import"}) {
    EXPECT_EQ(count_of(page, outside), 0u) << outside;
  }
  EXPECT_EQ(count_of(page, "<script"), 2u);
  EXPECT_EQ(count_of(page, "</script>"), 2u);
  EXPECT_NE(page.find("Experts of runs/&lt;one&gt;"), page.npos);
  // What is between the scripts is markup that is closed.
  const auto script = page.find("<script type");
  EXPECT_EQ(testing::markup_error(page.substr(0, script) + "</body></html>"),
            "");
}

TEST(ExpertPage, HasAllThatWasFound) {
  const Windows windows;
  const ExpertStudy study = study_of("cp_7_two_levels", windows, 1);
  const auto data = parse_json(expert_page_data(study, kPerExpert), "the page");
  ASSERT_EQ(data["gates"].size(), 4u);
  EXPECT_EQ(data["gates"][1]["examples"].size(), 5u);
  EXPECT_EQ(data["gates"][1]["promoted"].size(), 5u);
  EXPECT_EQ(data["gates"][0]["chosen"], study.loads[0].chosen);
  EXPECT_EQ(data["trees"].size(), 2u);
  EXPECT_EQ(data["trees"][0]["mean"].size(), 30u);
  EXPECT_EQ(data["shown"][0]["lanes"].size(), 4u);
  EXPECT_EQ(data["shown"][0]["tokens"].size(), 8u);
  // In base 64 that is 8 tokens of 4 experts of 3 bytes.
  EXPECT_EQ(data["shown"][0]["lanes"][0].get<std::string>().size(), 128u);
}

TEST(ExpertPage, ShowsFewerWhereThereIsNoRoom) {
  const Windows windows;
  const ExpertStudy study = study_of("cp_23", windows, 1);
  const std::string whole = expert_page(study);
  EXPECT_EQ(count_of(whole, "have room here"), 0u);
  const std::string small = expert_page(study, whole.size() - 1);
  EXPECT_LT(small.size(), whole.size());
  EXPECT_EQ(count_of(small, "of each 3 examples that were found, 2 have room"),
            1u);
}

TEST(ExpertJson, ShowsTextInWholeCharacters) {
  const data::ByteTokenizer bytes;
  const auto ids = bytes.encode("\xc3\xa4x\xc3\xb6");
  EXPECT_EQ(whole_text(bytes, ids), "\xc3\xa4x\xc3\xb6");
  EXPECT_EQ(whole_text(bytes, std::span(ids).subspan(1, 3)), "x");
}

TEST(DelphiExport, IsWhatItsReaderTakes) {
  const Windows windows;
  const testing::ScratchFolder folder;
  const auto one = folder.path() / "one", two = folder.path() / "two";
  const ExpertStudy study = study_of("cp_7_two_levels", windows, 1, one);
  study_of("cp_7_two_levels", windows, 2, two);
  for (std::size_t g = 0; g < study.loads.size(); ++g) {
    const Gate& gate = study.loads[g].gate;
    const auto name = fmt::format("h.{}.mlp.level{}", gate.mixture, gate.level);
    const auto file = fmt::format("0_{}.safetensors", gate.experts - 1);
    EXPECT_EQ(read_file(one / name / file), read_file(two / name / file));
    const auto read = read_safetensors(one / name / file);
    const at::Tensor places = read.at("locations");
    const at::Tensor values = read.at("activations");
    const at::Tensor tokens = read.at("tokens");
    EXPECT_EQ(tokens.sizes(), at::IntArrayRef({kWindows, kContext}));
    ASSERT_EQ(places.size(1), 3);
    const at::Tensor counts =
        at::bincount(places.select(1, 2).to(at::kLong), {}, gate.experts);
    for (std::int64_t n = 0; n < gate.experts; ++n) {
      EXPECT_EQ(counts[n].item<std::int64_t>(), study.loads[g].active[n]);
    }
    for (const Example& top : study.examples[g][2].top) {
      const at::Tensor there =
          (places == at::tensor({static_cast<std::int64_t>(top.sample),
                                 top.token,
                                 std::int64_t{2}}))
              .all(1);
      EXPECT_EQ(values.masked_select(there).item<double>(), top.coefficient);
    }
    const auto config =
        parse_json(read_file(one / name / "config.json"), "config.json");
    EXPECT_EQ(config["ctx_len"], kContext);
  }
  EXPECT_EQ(error_of([&] { DelphiExport("d", Material{}, {}, {}); }),
            "--delphi d: Delphi reads activations of texts; expected a run "
            "that learns from text");
}

TEST(Prompts, AreSeenBehindTheEndOfADocument) {
  const data::ByteTokenizer bytes;
  const Prompts prompts({"ab", "abcdefgh"}, bytes, 5);
  EXPECT_EQ(prompts.tokens(0), (std::vector<std::int32_t>{0, 'a', 'b'}));
  EXPECT_EQ(prompts.tokens(1),
            (std::vector<std::int32_t>{'d', 'e', 'f', 'g', 'h'}));
}

/// Images of 8 x 8 that are grey, the brighter the higher their number.
class Greys final : public data::Samples {
 public:
  std::uint64_t size() const override { return 9; }
  std::int64_t targets_per_sample() const override { return 1; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override {
    std::vector<float> pixels(64, static_cast<float>(indices[0]));
    return {.samples = 1,
            .input = pixels,
            .target = std::vector<std::int32_t>{1}};
  }
};

TEST(Sprite, HasEachCuttingOnce) {
  const ImageForm form{.side = 8, .channels = 1, .patch = 4, .class_names = {}};
  EXPECT_EQ(sprite_of(Greys(), form, {}, 8).uri, "");
  const Sprite whole = sprite_of(Greys(), form, {{7}, {2}, {7}}, 8);
  EXPECT_EQ(whole.tile, 8);
  EXPECT_EQ(whole.columns, 2);
  EXPECT_EQ(whole.place.at({2}), 0);
  EXPECT_EQ(whole.place.at({7}), 1);
  EXPECT_TRUE(whole.uri.starts_with("data:image/png;base64,iVBOR"));
  // The darkest is black, the brightest is white.
  Raster expected{16, 8, std::vector<std::uint8_t>(384)};
  for (std::size_t i = 0; i < 384; ++i) {
    expected.rgb[i] = i / 3 % 16 < 8 ? 0 : 255;
  }
  EXPECT_EQ(whole.uri, "data:image/png;base64," + base64(png_file(expected)));
  const Sprite patches = sprite_of(Greys(), form, {{7, 3}, {2, 0}}, 3);
  EXPECT_EQ(patches.tile, 3);
  EXPECT_EQ(patches.place.at({7, 3}), 1);
}

TEST(PictureFile, IsInBase64) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  const Raster grey{2, 1, {0, 0, 0, 255, 255, 255}};
  EXPECT_TRUE(png_file(grey).starts_with("\x89PNG"));
  EXPECT_TRUE(jpeg_file(grey).starts_with("\xff\xd8"));
}

}  // namespace
}  // namespace mumoe::study
