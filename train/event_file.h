#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/line_file.h"

namespace mumoe::train {

/// Counts of values by bucket: `counts[i]` are above `limits[i - 1]`, at most
/// `limits[i]`.
struct EventHistogram {
  std::vector<double> limits;
  std::vector<double> counts;
  double min = 0;
  double max = 0;
  double sum = 0;
  double sum_squares = 0;
};

/// Of `values`, in `buckets` buckets of one width.
EventHistogram histogram_of(const std::vector<double>& values, int buckets);

/// What a reader of event files is told of a step.
struct StepEvent {
  double wall_time = 0;  ///< Seconds since 1970.
  std::int64_t step = 0;
  std::vector<std::pair<std::string, double>> scalars = {};
  std::vector<std::pair<std::string, EventHistogram>> histograms = {};
  std::vector<std::pair<std::string, std::string>> texts = {};
};

/// An event file of TensorBoard: records of length, masked CRC-32C of that,
/// message (tensorboard.proto) and its CRC. A disk that takes nothing more
/// ends no run (`LineFile`). Not thread-safe.
class EventFile {
 public:
  /// Makes events.out.tfevents.SECONDS.HOST.PID.N.mumoe in `folder`, which is
  /// made if need be. A reader of the folder forgets what it has of `step` and
  /// of later ones. Throws `InputError` naming the file.
  EventFile(const std::filesystem::path& folder, std::int64_t step);

  void write(const StepEvent& event);
  void sync() { out_->sync(); }
  const std::filesystem::path& path() const { return path_; }
  /// Why something waits for the disk; empty: nothing does.
  const std::string& problem() const { return out_->problem(); }

 private:
  void append(const std::string& message);

  std::filesystem::path path_;
  std::optional<LineFile> out_;
};

/// Cuts the event files that this program has left in `folder`, which need not
/// be there, behind what they have of the first `steps` steps; those that have
/// no more than that go. Throws `InputError` naming a file.
void cut_event_files(const std::filesystem::path& folder, std::int64_t steps);

/// CRC-32C (Castagnoli), as records have it: rotated and with a constant added,
/// so that a CRC over data with CRCs in it is none of those.
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace mumoe::train
