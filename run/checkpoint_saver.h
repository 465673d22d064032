#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "base/disk.h"
#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "run/optimizer_state.h"
#include "run/part.h"
#include "run/run_state.h"

namespace mumoe::run {

struct SaverConfig {
  std::filesystem::path folder;  ///< checkpoints/ of a run; made if need be.
  int keep = 2;
  /// Whether `begin` returns before anything is written, and this rank's part
  /// is copied for that.
  bool async = false;
  /// Whether the ranks write parity too (run/parity.h).
  bool parity = false;
};

/// What came of a checkpoint.
struct Saved {
  std::int64_t step = 0;
  /// Why it is not there, naming path and reason; empty: it is.
  std::string failure = {};
  /// What could not be done beside it, or after the one before; empty: nothing.
  std::string note = {};
  double seconds = 0;  ///< From `begin` until it was durable.
  /// What this rank spent in this class since the result before.
  double stall_s = 0;
  std::int64_t bytes = 0;         ///< Of this rank's tensors.
  std::int64_t copied_bytes = 0;  ///< Of them in memory a second time.
};

/// Writes checkpoints: every rank its part, then rank 0 the manifest, after
/// which the folder gets its name. It appears whole or not at all, and what was
/// there before goes only after every rank has read its part from the disk
/// again. At most one is in the making.
///
/// The stages, of which a thread does this rank's work: write the parts; read
/// those of all ranks and write parity, if so configured; publish (rank 0);
/// read again what this rank has written; remove what is old (rank 0). A run
/// that waits for the checkpoint waits for no more than that it is published;
/// where it does not wait (`async`), each file is read again in the stage that
/// writes it, and what is old goes as soon as the new one is published, since
/// every stage may last until the run's next step. Between stages ranks agree,
/// in `advance`, so that a collective never waits for a disk unless `finish` or
/// a new checkpoint does.
///
/// Thread safety: one thread at a time. All but `busy`, `published` and `ready`
/// are collective over the world. A disk's refusal is no error: it is in
/// `Saved`, the same on all ranks.
class CheckpointSaver {
 public:
  /// All must outlive it.
  CheckpointSaver(SaverConfig config,
                  dist::ProcessMesh& mesh,
                  const dist::FlatBuckets& buckets,
                  Disk& disk = real_disk());
  /// Waits for this rank's thread; what is not published is left for the next
  /// run to remove.
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// Begins the checkpoint of `state`, after the one in the making is finished.
  void begin(const RunState& state, const OptimizerState& optimizer);
  /// Whether one is in the making.
  bool busy() const { return stage_ != Stage::idle; }
  /// Whether the one in the making is already there.
  bool published() const { return stage_ > Stage::publishing; }
  /// Whether this rank is done with the stage: when all are, `advance`.
  bool ready() const;
  /// Goes on to the next stage; waits for this rank's work.
  void advance();
  /// Goes on until it is published, or has failed.
  void publish();
  /// Goes on until nothing is in the making.
  void finish();
  /// What came of the last one, once: as soon as it is published or has failed,
  /// and again if it is found damaged thereafter.
  std::optional<Saved> take_result();

 private:
  enum class Stage {
    idle,
    writing,
    protecting,
    publishing,
    verifying,
    removing
  };

  void start(Stage stage);
  void advance_stage();
  void work(Stage stage);
  void write();
  void protect();
  void publish_on_rank_0();
  /// What this rank has written is read from the disk again.
  void verify();
  void verify_manifest();
  void remove_old();
  void add_note(const std::string& note);
  /// What all ranks have written: on rank 0, and on all for parity. Collective.
  void gather_parts();
  void gather_parity();
  void tell_published();
  void give_up(const std::string& failure);
  double since_begin() const;

  SaverConfig config_;
  dist::ProcessMesh& mesh_;
  const dist::FlatBuckets& buckets_;
  Disk& disk_;
  const int rank_;

  Stage stage_ = Stage::idle;
  RunState state_;
  Part part_;
  std::filesystem::path temporary_;
  std::filesystem::path target_;
  /// Of the worker: what this rank has done, or why it has not.
  WrittenPart written_;
  std::string failure_;
  std::string note_;  ///< Of rank 0, and not told yet.
  CheckedFile parity_;
  bool named_ = false;  ///< On rank 0: whether it has its name, `target_`.
  Manifest manifest_;   ///< To be written by rank 0.
  std::chrono::steady_clock::time_point began_;
  Saved saved_;
  std::optional<Saved> result_;
  double stall_ = 0;        ///< Seconds that `result_` has not told.
  std::future<void> work_;  // last: its thread uses the rest
};

}  // namespace mumoe::run
