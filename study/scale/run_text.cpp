#include "study/scale/run_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace mumoe::study {

std::string why_failed(const End& end,
                       double minutes,
                       const RunPlaces& places) {
  if (end.timed_out) {
    return fmt::format("did not end within {:g} minutes (minutes of the study)",
                       minutes);
  }
  if (end.code == 0) return {};
  for (const auto& said : {places.log, places.job}) {
    const auto line = last_line(said, {"mumoe: ", "launch/mpirun: "});
    if (!line.empty()) return line;
  }
  return fmt::format("ended with code {} and said nothing", end.code);
}

std::string duration_text(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", std::max(seconds, 1.0));
  if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace mumoe::study
