#pragma once

#include <string>

#include "study/scale/launcher.h"
#include "study/scale/process.h"

namespace mumoe::study {

/// Why a run that ended so was not measured, by what it said; empty: it was.
/// `minutes`: what it might take.
std::string why_failed(const End& end, double minutes, const RunPlaces& places);

/// "80 s", "12 min", "3.4 h"
std::string duration_text(double seconds);

}  // namespace mumoe::study
