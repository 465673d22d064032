#pragma once

#include <filesystem>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/disk.h"
#include "dist/watch/observer.h"

// What ranks that are threads do to a disk, and where they wait for each other.

namespace mumoe::testing {

/// One thing that a rank did, in the order in which it did it.
struct DiskEvent {
  enum class Kind {
    call,        ///< `call`, of paths below the record's root.
    collective,  ///< It met all others.
    published,   ///< Save number `save` had come to its end for it.
  };
  Kind kind = Kind::call;
  int rank = 0;
  DiskCall::Kind call = {};
  std::filesystem::path path = {};
  std::filesystem::path to = {};
  std::string bytes = {};
  int save = 0;
};

/// The events of all ranks, in an order in which they happened. Thread-safe
/// until it is read.
class DiskRecord {
 public:
  void add(DiskEvent event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  const std::vector<DiskEvent>& events() const { return events_; }

 private:
  std::mutex mutex_;
  std::vector<DiskEvent> events_;
};

/// The disk of one rank, which notes what it is asked, and does it.
class RecordingDisk final : public Disk {
 public:
  /// `record` must outlive it; paths are noted as they lie below `root`.
  RecordingDisk(DiskRecord& record, std::filesystem::path root, int rank)
      : record_(record), root_(std::move(root)), rank_(rank) {}

 protected:
  void before(const DiskCall& call) override {
    record_.add({.rank = rank_,
                 .call = call.kind,
                 .path = call.path.lexically_relative(root_),
                 .to = call.to.empty() ? std::filesystem::path()
                                       : call.to.lexically_relative(root_),
                 .bytes = std::string(call.bytes)});
  }

 private:
  DiskRecord& record_;
  std::filesystem::path root_;
  int rank_;
};

/// Notes the operations of the groups that it watches. Those that follow each
/// other without a call in between are one meeting.
class RecordedCollectives final : public dist::Observer {
 public:
  RecordedCollectives(DiskRecord& record, int rank)
      : record_(record), rank_(rank) {}

  void begin(const dist::Communicator&, const dist::Collective&) override {
    record_.add({.kind = DiskEvent::Kind::collective, .rank = rank_});
  }

 private:
  DiskRecord& record_;
  int rank_;
};

}  // namespace mumoe::testing
