#include "launch/run_data.h"

#include <chrono>

#include "base/error.h"
#include "data/text/tokenizer.h"
#include "launch/same_run.h"

namespace mumoe::launch {
namespace {

// A corpus of many gigabytes over a slow network, tokenized; what takes longer
// is prepared beforehand (mumoe data).
constexpr std::chrono::hours kDataDeadline{1};

data::PreparedData prepare(const run::Options& options,
                           dist::ProcessMesh& mesh) {
  dist::Communicator& world = mesh.control();
  const auto deadline = world.deadline();
  mesh.set_phase("data");
  world.set_deadline(kDataDeadline);
  if (world.rank() != 0) world.barrier();
  const auto tokenizer = data::make_tokenizer(options.tokenizer);
  data::PreparedData prepared = data::prepare(options.source, *tokenizer);
  world.set_deadline(deadline);
  // Rank 0 waits for ranks that wait for it: no longer without limit.
  if (world.rank() == 0) world.barrier();
  mesh.set_phase("start");
  require(prepared.vocabulary <= options.model.vocab,
          "model.vocab = {}: tokenizer {} has {} tokens",
          options.model.vocab,
          prepared.tokenizer,
          prepared.vocabulary);
  return prepared;
}

}  // namespace

RunData::RunData(const run::Options& options, dist::ProcessMesh& mesh)
    : prepared(prepare(options, mesh)),
      train_(prepared.train.open()),
      val_(prepared.val.open()) {
  require_same_run(mesh.control(),
                   {{"hash of train.bin", prepared.train.hash},
                    {"hash of val.bin", prepared.val.hash}});
}

std::unique_ptr<data::Samples> RunData::train(
    const run::Options& options) const {
  return std::make_unique<data::TokenWindows>(data::TokenView(train_),
                                              options.model.context,
                                              options.trainer.seed);
}

std::unique_ptr<data::Samples> RunData::validation(
    const run::Options& options) const {
  return std::make_unique<data::TokenWindows>(data::TokenView(val_),
                                              options.model.context);
}

}  // namespace mumoe::launch
