#include "launch/run_data.h"

#include <chrono>
#include <utility>

#include "base/error.h"
#include "data/text/prepare.h"
#include "data/text/token_windows.h"
#include "data/text/tokenizer.h"
#include "launch/same_run.h"

namespace mumoe::launch {
namespace {

// A corpus of many gigabytes over a slow network, tokenized; what takes longer
// is prepared beforehand (mumoe data).
constexpr std::chrono::hours kDataDeadline{1};

/// Windows of token files.
class TextData final : public RunData {
 public:
  explicit TextData(const data::PreparedData& prepared)
      : RunData(run::facts_of(prepared)),
        train_(prepared.train.path),
        val_(prepared.val.path) {}

  std::unique_ptr<data::Samples> train(
      const run::Options& options) const override {
    return std::make_unique<data::TokenWindows>(train_,
                                                options.model.context,
                                                options.trainer.seed);
  }
  std::unique_ptr<data::Samples> validation(
      const run::Options& options) const override {
    return std::make_unique<data::TokenWindows>(val_, options.model.context);
  }

 private:
  data::TokenFile train_;
  data::TokenFile val_;
};

std::unique_ptr<RunData> open_text(const run::Options& options) {
  const auto tokenizer = data::make_tokenizer(options.tokenizer);
  const auto prepared = data::prepare(options.source, *tokenizer);
  require(prepared.vocabulary <= options.model.vocab,
          "model.vocab = {}: tokenizer {} has {} tokens",
          options.model.vocab,
          prepared.tokenizer,
          prepared.vocabulary);
  return std::make_unique<TextData>(prepared);
}

}  // namespace

std::unique_ptr<RunData> open_run_data(const run::Options& options,
                                       dist::ProcessMesh& mesh) {
  dist::Communicator& world = mesh.control();
  const auto deadline = world.deadline();
  mesh.set_phase("data");
  world.set_deadline(kDataDeadline);
  if (world.rank() != 0) world.barrier();
  auto data = open_text(options);
  world.set_deadline(deadline);
  // Rank 0 waits for ranks that wait for it: no longer without limit.
  if (world.rank() == 0) world.barrier();
  mesh.set_phase("start");
  Facts hashes;
  for (const auto& split : {data->facts().train, data->facts().val}) {
    hashes["hash of " + split.name] = split.hash;
  }
  require_same_run(world, hashes);
  return data;
}

}  // namespace mumoe::launch
