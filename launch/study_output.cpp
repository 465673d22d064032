#include "launch/study_output.h"

#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "launch/asked_model.h"
#include "launch/fitted_table.h"

namespace mumoe::launch {
namespace {

/// `prose` in lines of at most so many columns, unless a word is longer.
std::string wrapped(const std::string& prose, std::size_t columns) {
  std::istringstream words(prose);
  std::string text, word;
  std::size_t used = 0;
  while (words >> word) {
    const bool breaks = used > 0 && used + 1 + word.size() > columns;
    if (used > 0) text += breaks ? '\n' : ' ';
    used = breaks || used == 0 ? word.size() : used + 1 + word.size();
    text += word;
  }
  return text + "\n";
}

std::string text_of(const study::StudyFindings& findings) {
  std::string text;
  FittedTable facts(terminal_columns());
  for (const auto& [label, words] : findings.facts) facts.fact(label, words);
  text += facts.text() + "\n";
  for (const study::Table& table : findings.tables) {
    FittedTable::Cells head;
    for (const study::Column& column : table.columns) {
      head.push_back(column.name);
    }
    FittedTable fitted(terminal_columns());
    fitted.rows(head, table.rows);
    text += "\n" + table.caption + fitted.text() + "\n";
  }
  for (const std::string& note : findings.notes) {
    text += "\n" + wrapped(note, terminal_columns());
  }
  return text;
}

}  // namespace

FindingsOutput::FindingsOutput(const Invocation& invocation,
                               const run::CommandLine& line)
    : facts_(open_output(invocation, line)), folder_(line.text("out", "")) {
  if (!facts_ || folder_.empty()) return;
  std::error_code error;
  require(!std::filesystem::exists(folder_, error) ||
              std::filesystem::is_directory(folder_, error),
          "--out {}: is no folder",
          folder_.string());
}

void FindingsOutput::show(const study::StudyFindings& findings,
                          const nlohmann::json& json) {
  facts_->show([&] { return text_of(findings); },
               [&] { return to_text(json, 2) + "\n"; });
  if (!folder_.empty()) study::write_study_page(folder_, findings);
}

std::vector<run::OwnOption> study_output_options() {
  return {{"json",
           "FILE",
           "where to write the result, - for stdout, without the tables",
           "output out_json"},
          {"out",
           "FOLDER",
           "where to write report.html and its charts",
           "html page"}};
}

}  // namespace mumoe::launch
