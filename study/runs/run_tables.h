#pragma once

#include <span>
#include <string>
#include <vector>

#include "study/report/page.h"
#include "study/runs/run_record.h"

namespace mumoe::study {

// Tables of a report; those without rows say nothing.

/// A row a run: steps, losses, time, rates, experts, events.
Table run_table(std::span<const RunRecord> runs);
/// The newest figures of each gate.
Table expert_table(std::span<const RunRecord> runs);
/// Bad steps, failed saves, resumes, but for samples.
Table event_table(std::span<const RunRecord> runs);
/// What each run is laid out as, and made with; a column a run.
Table provenance_table(std::span<const RunRecord> runs);
/// Settings that differ between runs, without where they are kept; a column a
/// run. Of one run: all.
Table settings_table(std::span<const RunRecord> runs);

/// The newest texts that a run's model wrote, at most three.
std::vector<RunEvent> newest_samples(const RunRecord& run);

/// "1h02m", "3m05s", "12.3 s"; "-" of what is not known.
std::string time_text(double seconds);

}  // namespace mumoe::study
