#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "study/scale/scale_result.h"

namespace mumoe::study {

/// Writes what `results` say into folder `out`: report.html, one page that
/// needs nothing else, and each of its charts as NAME.svg and NAME.png. Every
/// file appears whole or not at all. The folder is made if need be. Throws
/// `InputError`: no results, or a file that cannot be written.
void write_scale_report(const std::filesystem::path& out,
                        const std::vector<ScaleResult>& results,
                        std::string_view title);

}  // namespace mumoe::study
