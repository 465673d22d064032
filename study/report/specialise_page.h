#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "study/experts/specialise_curves.h"
#include "study/report/page.h"
#include "study/report/scale_charts.h"

namespace mumoe::study {

/// Polysemanticity, accuracy, and experts without damage, over the number of
/// experts: a panel a norm, a series a gate; of linear heads dashed lines.
std::vector<NamedChart> specialise_charts(
    const std::vector<HeadFigures>& heads);

/// A row a head: means over seeds with intervals.
Table specialise_figures_table(const std::vector<HeadFigures>& heads);

/// Writes into `folder` report.html, one page that needs nothing else, and each
/// of its charts as NAME.svg and NAME.png. Every file appears whole or not at
/// all. `damage`: as of --damage. Throws `InputError` for a file that cannot be
/// written.
void write_specialise_page(const std::filesystem::path& folder,
                           const std::vector<SpecialiseResult>& results,
                           const std::string& name,
                           const std::string& damage);

}  // namespace mumoe::study
