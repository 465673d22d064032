#include "launch/show_facts.h"

#include <cstdio>

#include "base/error.h"

namespace mumoe::launch {

FactsOutput::FactsOutput(const std::string& file) : alone_(file == "-") {
  if (!file.empty() && !alone_) file_.emplace(file);
}

FactsOutput::FactsOutput(const run::CommandLine& line)
    : FactsOutput(line.text("json", "")) {
  require(!line.own.contains("json") || !line.text("json", "").empty(),
          "--json : expected a name behind it");
}

void FactsOutput::show(const Text& table, const Text& json) {
  // What stdout does not take is found at the end of the program.
  std::fputs((alone_ ? json() : table()).c_str(), stdout);
  std::fflush(stdout);
  if (!file_) return;
  file_->write(json());
  file_->commit();
}

}  // namespace mumoe::launch
