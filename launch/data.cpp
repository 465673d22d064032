#include <cstdio>
#include <string>
#include <vector>

#include "data/text/prepare.h"
#include "data/text/sources.h"
#include "data/text/tokenizer.h"
#include "launch/commands.h"
#include "launch/run_data.h"
#include "model/families.h"
#include "run/command_line.h"
#include "run/data_facts.h"
#include "run/options.h"

namespace mumoe::launch {
namespace {

void print_notes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes)
    std::printf("  note: %s\n", note.c_str());
}

void print_split(const char* name, const data::Split& split) {
  std::printf("  %-5s %12llu tokens  %8.2f MB in %llu documents  %s",
              name,
              static_cast<unsigned long long>(split.tokens),
              static_cast<double>(split.bytes) / 1e6,
              static_cast<unsigned long long>(split.documents),
              split.path.filename().c_str());
  if (split.shards.size() > 1) {
    std::printf(" to %s", split.shards.back().file.c_str());
  }
  std::printf("\n");
}

void print_source(const data::PreparedSource& source, bool one_of_several) {
  const data::PreparedData& prepared = source.data;
  if (one_of_several) std::printf("%.4g of the mixture: ", source.weight);
  std::printf("%s (%s, vocabulary %lld) in %s\n",
              prepared.source.c_str(),
              prepared.tokenizer.c_str(),
              static_cast<long long>(prepared.vocabulary),
              prepared.folder.c_str());
  print_split("train", prepared.train);
  print_split("val", prepared.val);
  print_notes(prepared.notes);
}

/// Fetches them, or looks through their folders.
void print_images(const run::Options& options) {
  const run::DataFacts facts =
      run::facts_of(data::open_images(image_options(options)));
  std::printf("%s\n", facts.description.c_str());
  print_notes(facts.notes);
}

}  // namespace

std::vector<run::OwnOption> data_options() {
  return {{"out",
           "FOLDER",
           "where to write train.bin and val.bin; of several sources "
           "(data.source speeches=0.7,novels=0.3) a folder each in it [the "
           "user's cache]",
           "output out_dir output_dir output_prefix"},
          {"shard",
           "TOKENS",
           "more than these are several files, train_000000.bin, ... "
           "[100000000]",
           "shard_size shard_tokens tokens_per_shard"}};
}

ExitCode data_command(const Invocation& invocation) {
  const run::CommandLine line =
      run::read_command_line(invocation.arguments, "data", data_options());
  if (model::family(line.options.family).learns_from ==
      model::LearnsFrom::images) {
    print_images(line.options);
    return ExitCode::done;
  }
  const auto tokenizer = data::make_tokenizer(line.options.tokenizer);
  data::PrepareOptions options;
  if (const auto out = line.own.find("out"); out != line.own.end()) {
    options.out_folder = out->second;
  }
  options.field = line.options.field;
  options.shard_tokens = line.number<std::uint64_t>("shard",
                                                    options.shard_tokens,
                                                    1,
                                                    (1u << 31) - 1);
  options.threads = static_cast<unsigned>(line.options.data_threads);
  const auto sources =
      data::prepare_sources(line.options.source, *tokenizer, options);
  for (const data::PreparedSource& source : sources) {
    print_source(source, sources.size() > 1);
  }
  return ExitCode::done;
}

}  // namespace mumoe::launch
