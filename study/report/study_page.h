#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "study/report/page.h"
#include "study/report/scale_charts.h"

namespace mumoe::study {

/// What a study has found, but for its form: for a terminal, as JSON, or as a
/// page.
struct StudyFindings {
  std::string title;
  /// What was looked at: a label, and words.
  std::vector<std::pair<std::string, std::string>> facts = {};
  std::vector<Table> tables = {};
  std::vector<std::string> notes =
      {};  ///< What columns mean, a paragraph each.
  std::vector<NamedChart> charts = {};
};

/// Writes into `folder` report.html, one page that needs nothing else, and each
/// of its charts as NAME.svg and NAME.png. Every file appears whole or not at
/// all. The folder is made if need be. Throws `InputError` naming what cannot
/// be written.
void write_study_page(const std::filesystem::path& folder,
                      const StudyFindings& findings);

}  // namespace mumoe::study
