#include <fmt/format.h>
#include <fnmatch.h>

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/terminal.h"
#include "launch/commands.h"
#include "launch/inspect_report.h"
#include "launch/positional.h"
#include "launch/read_switch.h"
#include "launch/show_facts.h"
#include "run/command_line.h"
#include "run/named_checkpoint.h"
#include "run/repair.h"

namespace mumoe::launch {
namespace {

/// Whether a name has `pattern` in it, or matches it where that has wildcards.
std::function<bool(const std::string&)> matching(const std::string& pattern) {
  const bool wild = pattern.find_first_of("*?[") != pattern.npos;
  return [=](const std::string& name) {
    return wild ? ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0
                : name.find(pattern) != name.npos;
  };
}

template <class Found>
void tell(FactsOutput& output, const Found& found) {
  output.show([&] { return table_of(found, terminal_columns()) + "\n"; },
              [&] { return json_of(found); });
}

bool read_verify(const run::CommandLine& line) {
  const bool verify = read_switch(line, "verify", "yes");
  require(verify || !line.own.contains("other"),
          "--verify no: to compare two checkpoints all of them is read");
  return verify;
}

/// Says on stderr what it has written: stdout may be JSON.
void repair(const std::string& path) {
  const auto folder = run::named_checkpoint(path).folder;
  const auto lines = run::repair_checkpoint(folder);
  for (const auto& text : lines) {
    fmt::print(stderr, "mumoe inspect: {}\n", text);
  }
  if (lines.empty()) {
    fmt::print(stderr,
               "mumoe inspect: {}: nothing to repair\n",
               folder.string());
  }
}

void require_whole(const std::vector<std::string>& damage) {
  if (damage.empty()) return;
  fail<InputError>("{}{}",
                   damage.front(),
                   damage.size() == 1
                       ? ""
                       : fmt::format(" (and {} more)", damage.size() - 1));
}

}  // namespace

std::vector<run::OwnOption> inspect_options() {
  return {{"path",
           "PATH",
           "a run directory or a checkpoint; --path may be left out",
           "run checkpoint from out"},
          {"other",
           "PATH",
           "another one, to compare with: of a run the newest checkpoint",
           "compare diff with"},
          {"tensors",
           "WORD",
           "only tensors with it in their names, or that match it where it has "
           "*, ? or [ [all]",
           "filter tensor name"},
          {"verify",
           "yes|no",
           "whether all bytes are read and checked; no: the manifest and the "
           "sizes of files alone, and no norms [yes]",
           "check checksums"},
          {"repair",
           "yes|no",
           "write files that are lost or damaged anew, where checkpoint.parity "
           "was 1 and the others are whole; of a run, of its newest checkpoint "
           "[no]",
           "rebuild fix"},
          {"json",
           "FILE",
           "where to write the same facts, - for stdout, without the table",
           "output out_json output_path"}};
}

ExitCode inspect_command(const Invocation& invocation) {
  const run::CommandLine line =
      run::read_command_line(with_positional(invocation.arguments, "path"),
                             "",
                             inspect_options());
  const std::string path = line.text("path", "");
  require(!path.empty(),
          "mumoe inspect: PATH is missing: a run directory or a checkpoint");
  for (const char* name : {"other", "tensors"}) {
    require(!line.own.contains(name) || !line.text(name, "").empty(),
            "--{} : expected a word behind it",
            name);
  }
  const bool verify = read_verify(line);
  if (read_switch(line, "repair", "no")) repair(path);
  const auto wanted = matching(line.text("tensors", ""));
  FactsOutput output(line);
  std::vector<std::string> damage;
  if (line.own.contains("other")) {
    const auto found = run::compare_checkpoints(
        run::named_checkpoint(path).folder,
        run::named_checkpoint(line.text("other", "")).folder,
        wanted);
    tell(output, found);
    damage = found.damage();
  } else if (run::is_run(path)) {
    const auto found = run::survey_run(path, verify);
    tell(output, found);
    damage = found.damage;
  } else {
    auto found =
        run::survey_checkpoint(run::named_checkpoint(path).folder, verify);
    std::erase_if(found.tensors,
                  [&](const auto& tensor) { return !wanted(tensor.name); });
    tell(output, found);
    damage = found.damage;
  }
  require_whole(damage);
  return ExitCode::done;
}

}  // namespace mumoe::launch
