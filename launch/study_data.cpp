#include "launch/study_data.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "data/order.h"
#include "launch/run_data.h"
#include "model/families.h"

namespace mumoe::launch {
namespace {

// What goes through the model together, the same on any number of ranks.
constexpr std::int64_t kTokens = 4096;
constexpr std::int64_t kTokensOnGpu = 32768;
constexpr std::int64_t kImages = 64;
constexpr std::int64_t kImagesOnGpu = 256;
constexpr std::int64_t kFeatures = 512;

std::int64_t samples_at_once(const AskedRun& run) {
  const run::Options& options = run.settled.options;
  const bool gpu = run.settled.compute.device.is_cuda();
  switch (model::family(options.family).learns_from) {
    case model::LearnsFrom::tokens:
      break;
    case model::LearnsFrom::images:
      return gpu ? kImagesOnGpu : kImages;
    case model::LearnsFrom::features:
      return kFeatures;
  }
  return std::max<std::int64_t>(
      1,
      (gpu ? kTokensOnGpu : kTokens) / options.model.context);
}

}  // namespace

StudyData open_study_data(const AskedRun& run,
                          const run::CommandLine& line,
                          const std::string& part) {
  run::Options options = run.settled.options;
  options.source = line.text("data", options.source);
  options.augment = data::Augmentation::none;
  options.mixup = 0;
  const std::string chosen = line.text("part", part);
  require(chosen == "train" || chosen == "val",
          "--part {}: expected train or val",
          chosen);
  RunData found = open_run_data(options, run.session.mesh);
  StudyData data;
  data.facts = std::move(found.facts);
  data.part = chosen == "train" ? "training" : "validation";
  data.samples = chosen == "train" ? found.train : found.val;
  const auto all = static_cast<std::int64_t>(data.samples->size());
  const std::int64_t count = line.text("samples", "all") == "all"
                                 ? all
                                 : line.number("samples", all, std::int64_t{1});
  data.indices =
      data::evaluation_samples(data.samples->size(), std::min(count, all));
  data.per_batch = samples_at_once(run);
  data.batches = train::in_batches(data.indices, data.per_batch);
  return data;
}

std::vector<run::OwnOption> study_data_options() {
  return {{"run", "FOLDER", "a run directory", "out model ckpt out_dir"},
          {"checkpoint",
           "WHICH",
           "best, or the number of a step [the newest]",
           "step which"},
          {"data",
           "SOURCE",
           "what data.source may be [the run's]",
           "dataset source"},
          {"part", "PART", "train or val [val]", "split"},
          {"samples",
           "N",
           "windows of the text, or images, spread evenly; all: every one "
           "[all]",
           "windows images n"}};
}

}  // namespace mumoe::launch
