// Automatic choices: functions of figures that a machine keeps.
#include "launch/compute.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>

#include "base/cpu.h"
#include "base/file.h"
#include "dist/self_communicator.h"
#include "launch/figures.h"
#include "run/command_line.h"
#include "run/resume.h"
#include "tests/support/environment.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::launch {
namespace {

using dist::Communicator;
using testing::ScratchFolder;
using testing::SetVariable;

ComputeFigures figures(double bf16, double mkl, double onednn) {
  return {{bf16, bf16}, {mkl, mkl}, {onednn, onednn}};
}

TEST(Choice, OfALibraryIsThePreferredOneUnlessTheOtherIsClearlyFaster) {
  const auto choose = [](double mkl, double onednn, GemmLibrary preferred) {
    return choose_gemm(figures(0, mkl, onednn), preferred);
  };
  for (const double ratio : {0.5, 0.9, 1.0, 1.1, 1.19}) {
    EXPECT_EQ(choose(100, 100 * ratio, GemmLibrary::mkl), GemmLibrary::mkl);
    EXPECT_EQ(choose(100 * ratio, 100, GemmLibrary::onednn),
              GemmLibrary::onednn);
  }
  EXPECT_EQ(choose(100, 130, GemmLibrary::mkl), GemmLibrary::onednn);
  EXPECT_EQ(choose(130, 100, GemmLibrary::onednn), GemmLibrary::mkl);
  // Not offered.
  EXPECT_EQ(choose(100, 0, GemmLibrary::mkl), GemmLibrary::mkl);
}

TEST(Choice, OfThePrecisionGoesByRatesAndNotByInstructions) {
  // Two processors with AVX512-BF16.
  EXPECT_EQ(choose_precision(figures(168e9, 321e9, 318e9), GemmLibrary::mkl),
            run::Precision::fp32);
  EXPECT_EQ(choose_precision(figures(400e9, 75e9, 170e9), GemmLibrary::onednn),
            run::Precision::bf16);
  EXPECT_EQ(choose_precision(figures(200e9, 75e9, 170e9), GemmLibrary::onednn),
            run::Precision::fp32);
  EXPECT_EQ(choose_precision(figures(0, 75e9, 170e9), GemmLibrary::mkl),
            run::Precision::fp32);
}

run::Options small_options() {
  run::Options options;
  options.model.depth = 1;
  options.model.heads = 2;
  options.model.width = 32;
  options.model.mlp.hidden_dim = 64;
  options.model.context = 32;
  options.model.vocab = 64;
  options.model.mlp.experts = {8};
  options.model.mlp.ranks = {12};
  options.trainer.batch = 8;
  return options;
}

std::filesystem::path only_file(const std::filesystem::path& cache) {
  std::filesystem::path found;
  for (const auto& entry :
       std::filesystem::directory_iterator(cache / "measured")) {
    EXPECT_TRUE(found.empty());
    found = entry.path();
  }
  return found;
}

struct Chosen {
  run::Options options = small_options();
  std::vector<std::string> reasons;

  bool says(const std::string& part) const {
    return std::ranges::any_of(reasons, [&](const auto& reason) {
      return reason.find(part) != std::string::npos;
    });
  }
};
Chosen choose() {
  const auto self = dist::make_self_communicator(at::kCPU);
  Chosen chosen;
  const Compute compute = choose_compute(chosen.options, *self, at::kCPU, 8);
  chosen.options = compute.settled(chosen.options);
  chosen.reasons = compute.reasons;
  return chosen;
}

TEST(Choice, IsAFunctionOfWhatTheMachineRemembers) {
  const ScratchFolder cache;
  const SetVariable variable("MUMOE_CACHE", cache.path());
  const Chosen first = choose();
  EXPECT_TRUE(first.says("gemm auto: "));
  const bool two_libraries = offers(GemmLibrary::onednn);
  EXPECT_EQ(first.says("GFLOP/s a rank in fp32"), two_libraries);
  const auto file = only_file(cache.path());
  auto json = nlohmann::json::parse(read_file(file));
  ASSERT_EQ(json.at("figures").at("products").size(), 6u);
  EXPECT_GT(json["figures"]["products"][2].get<double>(), 0);

  // As if this machine had been seen to be so; nothing is measured again.
  for (const auto& [values, precision, gemm] :
       {std::tuple(std::vector<double>{9e9, 9e9, 2e9, 2e9, 1e9, 1e9},
                   run::Precision::bf16,
                   run::GemmChoice::mkl),
        std::tuple(std::vector<double>{1e9, 1e9, 1e9, 1e9, 2e9, 2e9},
                   run::Precision::fp32,
                   run::GemmChoice::onednn)}) {
    json["figures"]["products"] = values;
    write_file_atomically(file, json.dump());
    const Chosen again = choose();
    EXPECT_EQ(again.options.precision, precision);
    EXPECT_EQ(again.options.gemm, two_libraries ? gemm : run::GemmChoice::mkl);
    EXPECT_EQ(read_file(file), json.dump());
    EXPECT_FALSE(again.says("measured anew"));
  }
}

TEST(Choice, ThatChangesWithALibraryIsSaid) {
  const ScratchFolder cache;
  const SetVariable variable("MUMOE_CACHE", cache.path());
  choose();
  const auto file = only_file(cache.path());
  const auto json = nlohmann::json::parse(read_file(file));
  // Either library as the choice of an older LibTorch: one of them is another
  // than that of this one, whichever that is.
  for (const auto& [values, gemm, name] :
       {std::tuple(std::vector<double>{0, 0, 9e9, 9e9, 1e9, 1e9},
                   run::GemmChoice::mkl,
                   "mkl"),
        std::tuple(std::vector<double>{0, 0, 1e9, 1e9, 9e9, 9e9},
                   run::GemmChoice::onednn,
                   "onednn")}) {
    auto older = json;
    older["basis"] = "an older LibTorch";
    older["figures"]["products"] = values;
    write_file_atomically(file, older.dump());
    const Chosen now = choose();
    EXPECT_EQ(now.says(fmt::format("train.gemm was {}", name)),
              offers(GemmLibrary::onednn) && now.options.gemm != gemm);
    EXPECT_EQ(nlohmann::json::parse(read_file(file)).at("basis"),
              json["basis"]);
    EXPECT_FALSE(choose().says("measured anew"));  // once
  }
}

TEST(Choice, NeedsNoGoodFile) {
  const ScratchFolder cache;
  const SetVariable variable("MUMOE_CACHE", cache.path());
  choose();
  const auto file = only_file(cache.path());
  const auto json = nlohmann::json::parse(read_file(file));
  auto shorter = json, text = json, other = json;
  shorter["figures"]["products"] = {1.0};
  text["figures"]["products"] = "fast";
  other["kind"] = "another machine with this hash";
  for (const std::string& bytes : {std::string("{"),
                                   std::string(),
                                   shorter.dump(),
                                   text.dump(),
                                   other.dump(),
                                   std::string("[1]")}) {
    write_file_atomically(file, bytes);
    EXPECT_FALSE(choose().reasons.empty());
    EXPECT_EQ(nlohmann::json::parse(read_file(file)).at("kind"), json["kind"])
        << bytes;
  }
}

TEST(Choice, IsMadeWhereNothingCanBeRemembered) {
  const ScratchFolder cache;
  const auto in_the_way = cache.write("file", "");
  const SetVariable variable("MUMOE_CACHE", in_the_way);
  EXPECT_TRUE(choose().says("not remembered: " + in_the_way.string()));
}

TEST(Choice, LeavesAloneWhatIsGiven) {
  const ScratchFolder cache;
  const SetVariable variable("MUMOE_CACHE", cache.path());
  const auto self = dist::make_self_communicator(at::kCPU);
  run::Options options = small_options();
  options.precision = run::Precision::fp64;
  Compute compute = choose_compute(options, *self, at::kCPU, 8);
  EXPECT_TRUE(compute.reasons.empty());
  EXPECT_EQ(compute.settled(options).precision, run::Precision::fp64);
  EXPECT_NE(compute.settled(options).gemm, run::GemmChoice::automatic);
  options = small_options();
  options.precision = run::Precision::fp32;
  options.gemm = run::GemmChoice::mkl;
  compute = choose_compute(options, *self, at::kCPU, 8);
  EXPECT_TRUE(compute.reasons.empty());
  EXPECT_EQ(compute.settled(options).gemm, run::GemmChoice::mkl);
  EXPECT_FALSE(std::filesystem::exists(cache.path() / "measured"));
}

TEST(Figures, AreMeasuredByAllRanksAndThoseOfRankZero) {
  const ScratchFolder cache;
  const SetVariable variable("MUMOE_CACHE", cache.path());
  std::atomic<int> measured = 0;
  const auto get = [&] {
    dist::ThreadWorld::run(3, [&](Communicator& world) {
      Figures figures("a machine", "a library", world);
      const auto values = figures.get("rate", 2, [&] {
        ++measured;
        return Figures::Values{world.rank() + 0.5, 7};
      });
      EXPECT_EQ(values, (Figures::Values{0.5, 7}));
    });
  };
  get();
  EXPECT_EQ(measured, 3);
  get();
  EXPECT_EQ(measured, 3);
}

TEST(Peak, IsTheMostThatWasSeen) {
  const ScratchFolder cache;
  const SetVariable variable("MUMOE_CACHE", cache.path());
  const auto self = dist::make_self_communicator(at::kCPU);
  run::Options options = small_options();
  options.precision = run::Precision::fp32;
  const Compute compute = choose_compute(options, *self, at::kCPU, 8);
  const double first = measure_peak_flops(options, compute, *self, 8);
  EXPECT_GT(first, 0);
  const auto file = only_file(cache.path());
  auto json = nlohmann::json::parse(read_file(file));
  for (auto& [name, values] : json["figures"].items()) {
    if (name.starts_with("peak")) values = {1e18};
  }
  write_file_atomically(file, json.dump());
  EXPECT_EQ(measure_peak_flops(options, compute, *self, 8), 1e18);
  for (auto& [name, values] : json["figures"].items()) {
    if (name.starts_with("peak")) values = {1.0};
  }
  write_file_atomically(file, json.dump());
  EXPECT_GT(measure_peak_flops(options, compute, *self, 8), 1e6);
  EXPECT_EQ(read_file(file).find("[1.0]"), std::string::npos);
}

TEST(Settings, AutomaticChoicesAreMadeOnceAndReplayed) {
  const ScratchFolder cache;
  const SetVariable variable("MUMOE_CACHE", cache.path());
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto settled = [&](const std::vector<std::string>& arguments,
                           const run::Settings& stored) {
    const auto asked = run::read_command_line(arguments).options;
    const auto options = run::replay(asked, stored).options;
    return choose_compute(options, *self, at::kCPU, 16).settled(options);
  };
  for (const GemmLibrary library : {GemmLibrary::mkl, GemmLibrary::onednn}) {
    // As if this library had been the faster one when the run began.
    const std::string name(to_string(library));
    if (!offers(library)) {
      testing::expect_input_error(
          [&] { settled({"--train.gemm=" + name}, {}); },
          {"train.gemm = " + name, "this CPU"});
      continue;
    }
    const auto stored =
        run::settings_of(settled({"--train.gemm=" + name}, {}), {});
    EXPECT_EQ(stored.at("train.gemm"), name);
    EXPECT_NE(stored.at("train.precision"), "auto");

    const run::Options resumed = settled({}, stored);
    EXPECT_EQ(resumed.model.gemm, library);
    EXPECT_NO_THROW(
        run::check_resumable(stored, run::settings_of(resumed, {}), {}, "run"));

    // A choice of the user's own is not overruled, but refused.
    if (!offers(GemmLibrary::onednn)) continue;
    const auto other =
        settled({name == "mkl" ? "--train.gemm=onednn" : "--train.gemm=mkl"},
                stored);
    EXPECT_THROW(
        run::check_resumable(stored, run::settings_of(other, {}), {}, "run"),
        InputError);
  }
  const run::Options options = settled({}, {});
  EXPECT_TRUE(offers(options.model.gemm));
  EXPECT_NE(run::to_map(options).at("train.gemm"), "auto");
}

}  // namespace
}  // namespace mumoe::launch
