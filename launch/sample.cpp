#include <ATen/Parallel.h>

#include <cstdio>

#include "data/tokenizer.h"
#include "dist/flat_buckets.h"
#include "dist/self_communicator.h"
#include "launch/commands.h"
#include "launch/compute.h"
#include "launch/device_choice.h"
#include "launch/options.h"
#include "launch/run_directory.h"
#include "model/generate.h"
#include "train/checkpoint.h"

namespace mumoe::launch {
namespace {

double number(const CommandLine& line,
              const std::string& name,
              double otherwise) {
  const auto found = line.own.find(name);
  if (found == line.own.end()) return otherwise;
  std::size_t used = 0;
  double value = 0;
  try {
    value = std::stod(found->second, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  require(used == found->second.size() && used > 0,
          "--",
          name,
          " ",
          found->second,
          ": expected a number");
  return value;
}

std::int64_t whole_number(const CommandLine& line,
                          const std::string& name,
                          std::int64_t otherwise) {
  const double value = number(line, name, static_cast<double>(otherwise));
  const auto whole = static_cast<std::int64_t>(value);
  require(static_cast<double>(whole) == value,
          "--",
          name,
          " ",
          value,
          ": expected a whole number");
  return whole;
}

}  // namespace

ExitCode sample_command(const Invocation& invocation) {
  const CommandLine line =
      read_command_line(invocation.arguments,
                        "",
                        {{"run", "run directory"},
                         {"prompt", "what the text begins with"},
                         {"tokens", "tokens to add"},
                         {"temperature", "0 takes the most likely token"},
                         {"top-k", "draw from the so many most likely tokens"},
                         {"seed", "of the draws"}});
  const auto run = line.own.find("run");
  require(run != line.own.end(), "mumoe sample: --run FOLDER is missing");
  RunOnDisk opened = open_run(run->second);
  for (const auto& line : opened.notes) {
    std::fprintf(stderr, "mumoe sample: %s\n", line.c_str());
  }
  Options& options = opened.options;

  options.device = DeviceKind::automatic;  // the run may have had another
  options.parallel.backend = BackendChoice::automatic;
  const auto alone = dist::make_self_communicator(at::kCPU);
  const Compute compute = choose_compute(
      options,
      *alone,
      choose_device(options, *alone, gpus_here(/*local_rank=*/0)).device);
  const auto self = dist::make_self_communicator(compute.device);
  dist::ParameterRegistry registry(*self, compute.dtype, compute.device);
  const model::Gpt2 model(options.model, registry);
  dist::FlatBuckets buckets(registry, kBucketBytes);
  train::load_weights(opened.checkpoint, buckets);

  const auto tokenizer = data::make_tokenizer(options.tokenizer);
  model::GenerateConfig config;
  config.tokens = whole_number(line, "tokens", config.tokens);
  config.temperature = number(line, "temperature", config.temperature);
  config.top_k = whole_number(line, "top-k", config.top_k);
  config.seed = static_cast<std::uint64_t>(whole_number(line, "seed", 0));
  config.vocabulary = tokenizer->vocabulary();

  const auto given = line.own.find("prompt");
  const std::string prompt = given == line.own.end() ? "" : given->second;
  std::vector<std::int64_t> ids{tokenizer->end_of_document()};
  for (const auto id : tokenizer->encode(prompt)) ids.push_back(id);
  std::fputs(prompt.c_str(), stdout);
  model::generate(model, std::move(ids), config, [&](std::int32_t id) {
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
