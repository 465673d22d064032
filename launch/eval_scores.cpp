#include "launch/eval_scores.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "base/file.h"
#include "data/order.h"
#include "data/text/choices.h"
#include "data/text/token_file.h"
#include "data/text/token_windows.h"
#include "data/text/tokenizer.h"
#include "launch/run_data.h"
#include "launch/same_run.h"
#include "model/classifier.h"
#include "model/language_model.h"
#include "train/image_scores.h"
#include "train/scores.h"

namespace mumoe::launch {
namespace {

namespace fs = std::filesystem;

// What goes through the model together, the same on any number of ranks.
constexpr std::int64_t kTokens = 4096;
constexpr std::int64_t kTokensOnGpu = 32768;
constexpr std::int64_t kImages = 64;
constexpr std::int64_t kImagesOnGpu = 256;
// Lengths of rows of choices are multiples of it.
constexpr std::int64_t kLengthStep = 16;

bool on_gpu(const EvalJob& job) {
  return job.settled.compute.device.is_cuda();
}

std::int64_t tokens_at_once(const EvalJob& job) {
  return on_gpu(job) ? kTokensOnGpu : kTokens;
}

train::Scorer scorer_of(const EvalJob& job) {
  return {job.session.mesh, job.settled.compute.device};
}

/// The model as one of this kind, `what` in words.
template <class Kind>
const Kind& as(const EvalJob& job, const char* what) {
  const auto* model = dynamic_cast<const Kind*>(&job.model);
  require(model != nullptr,
          "{}: model.family = {} is no model of {}",
          job.request.run.string(),
          job.settled.options.family,
          what);
  return *model;
}

std::unique_ptr<data::Tokenizer> tokenizer_of(const EvalJob& job) {
  return data::make_tokenizer(job.settled.options.tokenizer);
}

/// What is asked for, of `samples`.
std::vector<std::uint64_t> asked_of(const EvalJob& job,
                                    const data::Samples& samples) {
  const auto all = static_cast<std::int64_t>(samples.size());
  return data::evaluation_samples(samples.size(),
                                  job.request.windows.value_or(all));
}

/// Data that the request or the run names, and what is called so.
struct Found {
  std::string source;
  std::string part;
  std::string hash;
  std::vector<std::string> class_names = {};
  std::shared_ptr<const data::Samples> samples = {};
  std::optional<data::TokenFile> file = {};
};

/// The part for validation of a source. Collective.
Found open_source(const EvalJob& job) {
  run::Options options = job.settled.options;
  if (!job.request.data.empty()) options.source = job.request.data;
  const RunData data = open_run_data(options, job.session.mesh);
  return {data.facts.source,
          "validation",
          data.facts.val.hash,
          data.facts.class_names,
          data.val};
}

/// The text that is asked for. Collective.
std::unique_ptr<Found> open_text(const EvalJob& job,
                                 const data::Tokenizer& tokenizer,
                                 std::int64_t context) {
  const std::string& asked = job.request.data;
  std::error_code error;
  if (!fs::is_regular_file(asked, error)) {
    return std::make_unique<Found>(open_source(job));
  }
  auto found = std::make_unique<Found>();
  const auto& file = found->file.emplace(asked);
  file.check_vocabulary(tokenizer.vocabulary());
  found->source = asked;
  found->part = "all";
  found->hash = file.hash();
  require_same_run(job.session.mesh.control(),
                   {{"hash of " + asked, found->hash}});
  found->samples = std::make_shared<data::TokenWindows>(file, context);
  return found;
}

}  // namespace

TextScore score_text(const EvalJob& job) {
  const auto& model = as<model::LanguageModel>(job, "text");
  const auto tokenizer = tokenizer_of(job);
  const auto text = open_text(job, *tokenizer, model.context());
  const data::Samples& samples = *text->samples;
  const std::int64_t context = samples.targets_per_sample();
  const auto windows = asked_of(job, samples);
  return {.source = text->source,
          .part = text->part,
          .hash = text->hash,
          .tokenizer = std::string(tokenizer->name()),
          .context = context,
          .windows = static_cast<std::int64_t>(windows.size()),
          .windows_of_all = static_cast<std::int64_t>(samples.size()),
          .score = train::score_windows(
              scorer_of(job),
              model,
              samples,
              windows,
              std::max<std::int64_t>(1, tokens_at_once(job) / context),
              data::bytes_of_ids(*tokenizer))};
}

ChoicesScore score_choices(const EvalJob& job) {
  const auto& model = as<model::LanguageModel>(job, "text");
  const fs::path& file = job.request.choices;
  const dist::ProcessMesh& mesh = job.session.mesh;
  // Rows are cut by tokens over tp under the plan sequence.
  const std::int64_t multiple =
      std::lcm(kLengthStep, static_cast<std::int64_t>(mesh.tp().size()));
  const data::ChoiceRows rows(file,
                              *tokenizer_of(job),
                              model.context(),
                              multiple);
  require_same_run(
      mesh.control(),
      {{"hash of " + file.string(), data::hash_hex(read_file(file))}});
  return {
      file,
      train::score_choices(scorer_of(job), model, rows, tokens_at_once(job)),
      rows.cut()};
}

ImagesScore score_images(const EvalJob& job) {
  const auto& model = as<model::Classifier>(job, "images");
  const Found found = open_source(job);
  const auto images = asked_of(job, *found.samples);
  return {.source = found.source,
          .part = found.part,
          .hash = found.hash,
          .images_of_all = static_cast<std::int64_t>(found.samples->size()),
          .score = train::score_images(
              scorer_of(job),
              [&](const at::Tensor& pixels) { return model.logits(pixels); },
              *found.samples,
              images,
              on_gpu(job) ? kImagesOnGpu : kImages,
              model.classes()),
          .class_names = found.class_names};
}

}  // namespace mumoe::launch
