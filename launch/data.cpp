#include "data/text/prepare.h"

#include <cstdio>

#include "data/text/tokenizer.h"
#include "launch/commands.h"
#include "run/command_line.h"
#include "run/options.h"

namespace mumoe::launch {
namespace {

void print_split(const char* name, const data::Split& split) {
  std::printf("  %-5s %12llu tokens  %8.2f MB in %llu documents  %s\n",
              name,
              static_cast<unsigned long long>(split.tokens),
              static_cast<double>(split.bytes) / 1e6,
              static_cast<unsigned long long>(split.documents),
              split.path.filename().c_str());
}

}  // namespace

std::vector<run::OwnOption> data_options() {
  return {{"out",
           "FOLDER",
           "where to write train.bin and val.bin [the user's cache]",
           "output out_dir output_dir output_prefix"}};
}

ExitCode data_command(const Invocation& invocation) {
  const run::CommandLine line =
      run::read_command_line(invocation.arguments, "data", data_options());
  const auto tokenizer = data::make_tokenizer(line.options.tokenizer);
  const auto out = line.own.find("out");
  const data::PreparedData prepared =
      data::prepare(line.options.source,
                    *tokenizer,
                    out == line.own.end() ? "" : out->second);
  std::printf("%s (%s, vocabulary %lld) in %s\n",
              prepared.source.c_str(),
              prepared.tokenizer.c_str(),
              static_cast<long long>(prepared.vocabulary),
              prepared.folder.c_str());
  print_split("train", prepared.train);
  print_split("val", prepared.val);
  for (const std::string& note : prepared.notes) {
    std::printf("  note: %s\n", note.c_str());
  }
  return ExitCode::done;
}

}  // namespace mumoe::launch
