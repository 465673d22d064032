#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "dist/host_map.h"
#include "dist/process_mesh.h"
#include "run/damage.h"
#include "run/data_facts.h"
#include "run/options.h"

namespace mumoe::run {

/// The folder `train.out` of a run, as its rank 0 holds it: no other run may
/// write into it meanwhile. The kernel ends the hold when the process dies.
class RunDirectory {
 public:
  /// Takes hold of `out` if it is there; `prepare` does where it is not. Where
  /// it is empty, `prepare` makes `numbered`-1, -2 or so on, the first that is
  /// free; both empty: nothing is written anywhere. Throws `InputError` naming
  /// who holds it, or the run that it is a part of.
  explicit RunDirectory(std::filesystem::path out,
                        std::filesystem::path numbered = {});

  /// What a run that starts or goes on at `step` finds and needs.
  struct Start {
    const Options& options;
    const DataFacts& data;
    const dist::ProcessMesh& mesh;
    const dist::HostMap& hosts;
    std::int64_t step;
    double checkpoint_bytes;  ///< Of one checkpoint.
  };
  /// Makes the folder ready: tries whether checkpoints can be written, sets
  /// aside what a run left that ended before its first checkpoint, and writes
  /// config.cfg, with `path()` as its train.out, and provenance.json. Returns
  /// lines to say. Throws `InputError`,
  /// before anything is written: it cannot be written, it holds checkpoints and
  /// the run does not resume, no room for a checkpoint, another name in the
  /// place of a checkpoint to come.
  std::vector<std::string> prepare(const Start& start);
  /// The folder, once `prepare` has made it; empty: there is none.
  const std::filesystem::path& path() const { return out_; }

 private:
  void require_free(const Start& start, bool resumes) const;
  void make();
  void claim();

  std::filesystem::path out_;
  std::filesystem::path numbered_;
  std::optional<FileLock> lock_;
};

/// A run on disk, for what looks at it.
struct RunOnDisk {
  std::filesystem::path checkpoint;  ///< The newest, or the one asked for.
  Options options;
  /// What was passed by, and where config.cfg says otherwise than the
  /// checkpoint, which wins: lines.
  std::vector<std::string> notes;
};
/// Throws `InputError` when `folder` holds no checkpoint. A config.cfg that
/// is gone is a note: the checkpoint has what its weights depend on.
/// `which`: empty for the newest that is not `known` to be damaged, best, or
/// the number of a step. Throws `DamageError` as `newest_checkpoint` does.
RunOnDisk open_run(const std::filesystem::path& folder,
                   const std::string& which = "",
                   const Damage& known = {});

}  // namespace mumoe::run
