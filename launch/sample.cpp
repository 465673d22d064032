#include <ATen/Parallel.h>

#include <cstdio>

#include "data/text/tokenizer.h"
#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "launch/commands.h"
#include "launch/plan_choice.h"
#include "launch/settle.h"
#include "model/families.h"
#include "model/generate.h"
#include "run/checkpoint.h"
#include "run/command_line.h"
#include "run/options.h"
#include "run/run_directory.h"

namespace mumoe::launch {
namespace {

model::GenerateConfig read_generation(const run::CommandLine& line) {
  model::GenerateConfig config;
  config.tokens = line.number("tokens", config.tokens, std::int64_t{0});
  config.temperature = line.number("temperature", config.temperature, 0.0);
  config.top_k = line.number("top-k", config.top_k, std::int64_t{0});
  config.seed = line.number("seed", config.seed);
  return config;
}

}  // namespace

std::vector<run::OwnOption> sample_options() {
  return {
      {"run", "FOLDER", "a run directory", "out model ckpt checkpoint out_dir"},
      {"prompt",
       "TEXT",
       "what the text begins with [the start of a document]",
       "start input text"},
      {"tokens",
       "N",
       "tokens to add [256]",
       "max_new_tokens max_tokens n_tokens num_tokens length max_length"},
      {"temperature",
       "X",
       "0 takes the most likely token each time [0.8]",
       "temp t"},
      {"top-k", "N", "draw from the N most likely tokens; 0: all [50]", "k"},
      {"seed", "N", "of the draws, 0 to 2^64 - 1 [0]", "random_seed"}};
}

ExitCode sample_command(const Invocation& invocation) {
  const run::CommandLine line =
      run::read_command_line(invocation.arguments, "", sample_options());
  const std::filesystem::path folder = line.text("run", "");
  require(!folder.empty(), "mumoe sample: --run FOLDER is missing");
  model::GenerateConfig config = read_generation(line);
  run::RunOnDisk opened = run::open_run(folder);
  for (const auto& note : opened.notes) {
    std::fprintf(stderr, "mumoe sample: %s\n", note.c_str());
  }
  const Settled settled = settle_alone(std::move(opened.options));
  if (!settled.note.empty()) {
    std::fprintf(stderr, "mumoe sample: %s\n", settled.note.c_str());
  }
  const Compute& compute = settled.compute;

  const auto self = dist::make_self_communicator(compute.device);
  dist::ParameterRegistry registry(*self,
                                   compute.dtype,
                                   compute.device,
                                   /*decay_all=*/false,
                                   row_multiple(compute.device));
  const auto made = model::family(settled.options.family)
                        .make(settled.options.model, registry, {}, nullptr);
  const auto* model = dynamic_cast<const model::LanguageModel*>(made.get());
  require(model != nullptr,
          "{}: model.family = {} writes no text; expected one that does",
          folder.string(),
          settled.options.family);
  dist::FlatBuckets buckets(registry, kBucketBytes);
  run::load_checkpoint(opened.checkpoint, buckets);

  const auto tokenizer = data::make_tokenizer(settled.options.tokenizer);
  config.vocabulary = tokenizer->vocabulary();

  const std::string prompt = line.text("prompt", "");
  std::vector<std::int64_t> ids{tokenizer->end_of_document()};
  for (const auto id : tokenizer->encode(prompt)) ids.push_back(id);
  std::fputs(prompt.c_str(), stdout);
  model::generate(*model, std::move(ids), config, [&](std::int32_t id) {
    // The end of a document is where a text ends.
    if (id == tokenizer->end_of_document()) return false;
    const std::string text = tokenizer->decode({&id, 1});
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    return true;
  });
  std::fputs("\n", stdout);
  return ExitCode::done;
}

}  // namespace mumoe::launch
