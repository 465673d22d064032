#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "study/loss/law_draws.h"

namespace mumoe::study {

// What a loss study says (loss_analysis.h), in three forms; the same points
// and draws say the same. Points without a finite loss are left out, and named.
// All throw `InputError`: no points with one, or another that no law can be
// fitted to, by its name.

/// Tables for a terminal of 80 columns (more with long names of models): laws
/// with intervals, compute-optimal sizes, minima at equal FLOPs, forms against
/// each other; and in a line each, what the points do not tell. Ends with a
/// line feed.
std::string loss_text(std::span<const LossPoint> points,
                      const DrawOptions& draws = {});

/// All of it, and the points, as one JSON object with a line feed; what is not
/// known or not finite is null.
std::string loss_json(std::span<const LossPoint> points,
                      const DrawOptions& draws = {});

/// Writes into `folder` report.html, one page that needs nothing else, and each
/// of its charts as NAME.svg and NAME.png. Every file appears whole or not at
/// all. The folder is made if need be. Throws `InputError` also for a file that
/// cannot be written.
void write_loss_report(const std::filesystem::path& folder,
                       std::span<const LossPoint> points,
                       const std::string& name,
                       const DrawOptions& draws = {});

}  // namespace mumoe::study
