#pragma once

#include <mutex>
#include <string>

#include "dist/watch/bandwidth.h"
#include "dist/watch/observer.h"

namespace mumoe::dist {

/// A slow link in software, to see what a run would be on a slower network than
/// it has. Each rank has one link, which all groups it is watched by share: an
/// operation occupies it for latency + bytes · bus_factor / bandwidth, from its
/// start or from the end of those begun before. The `Work` it hands back is not
/// done before that, nor before the real end. Waiting sleeps; nothing else
/// costs time, so that computation overlaps as it would on real hardware.
///
/// `ProcessMesh::observe` it before observers that read times (`Trace`).
/// Errors: waiting throws `CommunicationError` when the group's deadline passes
/// first. Thread-safe. For CPU tensors: `Work::wait` of a device orders streams
/// and does not tell when an operation ends.
class LinkModel final : public Observer {
 public:
  explicit LinkModel(const Bandwidth& link) : link_(link) {}

  Work started(const Communicator& group,
               const Collective& collective,
               Work work) override;

 private:
  Bandwidth link_;
  std::mutex mutex_;
  Work::Clock::time_point free_;  ///< When what it was given has passed.
};

/// Reads "latency_us,GB/s", latency first. Throws `InputError`.
Bandwidth parse_link(const std::string& text);

}  // namespace mumoe::dist
