#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "study/runs/run_record.h"

namespace mumoe::study {

/// Writes into `folder` report.html, one page of the runs that needs nothing
/// else, and each of its charts as NAME.svg and NAME.png. Every file appears
/// whole or not at all. The folder is made if need be. Throws `InputError` for
/// a file that cannot be written.
void write_run_report(const std::filesystem::path& folder,
                      std::span<const RunRecord> runs);

/// The same for programs, one JSON object with a line feed: of each run its
/// summary, layout, provenance, settings, events, newest figures of experts,
/// and curves of at most 400 points ("low" and "high" of a stretch beside its
/// mean where there were more); null for what is not known.
std::string run_json(std::span<const RunRecord> runs);

/// Writes the run as event files of TensorBoard into a folder of its name in
/// `folder`, in place of those of it that are there. Histograms are not in
/// metrics.jsonl, and so only in those that a run writes itself. Returns the
/// folder. Throws `InputError` for a file that cannot be read or written.
std::filesystem::path write_events(const std::filesystem::path& folder,
                                   const RunRecord& run);

}  // namespace mumoe::study
