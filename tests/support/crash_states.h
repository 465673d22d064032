#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/crashed_disk.h"

// The states in which a disk may be after a power cut, of a record of what
// ranks did to it.

namespace mumoe::testing {

/// A disk after a power cut.
struct CrashState {
  DiskImage image;
  /// The last save that had come to its end for some rank.
  int published = 0;
  /// A file that the disk has lost a byte of, although it was synced; nobody
  /// had read it again.
  std::optional<std::string> damaged = {};
  /// A call that fails before the cut, and why; else nothing.
  std::string failed = {};
  /// Where the cut was, and what was lost, for messages.
  std::function<std::string()> describe;
};

struct CrashOptions {
  /// Of at most so many unsynced changes all subsets are taken, of more
  /// `samples` of them.
  std::size_t exhaustive = 12;
  int samples = 16;
  /// Cuts between two meetings, beside those of the record and those where one
  /// rank is at any place and the others have done nothing, or all.
  int cuts = 40;
  /// Whether there are others than those of the record.
  bool any_cuts = true;
  std::uint64_t seed = 1;
  /// The first event of the record that may be left out of a state.
  std::size_t from = 0;
  /// Which files a disk may lose a byte of.
  std::function<bool(const std::string& path)> may_be_damaged = {};
};

/// Calls `visit` for states after a cut at any time: of what ranks do between
/// two meetings, each may have done any part, in any order of the ranks where
/// that matters. Until it returns false.
void each_crash(const std::vector<DiskEvent>& events,
                int ranks,
                const CrashOptions& options,
                const std::function<bool(const CrashState&)>& visit);

/// The record without one thing that it has, and what that is.
struct Mutation {
  std::string what;
  std::vector<DiskEvent> events;
  /// No event before it is concerned (`CrashOptions::from`).
  std::size_t from = 0;
  bool is_meeting = false;
  /// The last save that had come to its end before.
  int published = 0;
};
/// One for each sync, sync_folder, rename, forget and meeting.
std::vector<Mutation> mutations_of(const std::vector<DiskEvent>& events,
                                   int ranks);

}  // namespace mumoe::testing
