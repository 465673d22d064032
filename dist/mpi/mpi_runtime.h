#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "dist/communicator.h"
#include "dist/watch/local_peers.h"

namespace mumoe::dist {

/// MPI in this process, from start to end; one per process. A thread of its
/// own makes all calls of MPI and drives the operations under way while the
/// ranks' threads compute. That thread takes no signals.
///
/// Made before and destroyed after everything that communicates, outside of
/// the `try` of `main`, so that `main` can call `abort` for what it catches:
///
///     std::optional<MpiRuntime> mpi;
///     try {
///       mpi.emplace();
///       ...
///     } catch (const Error& error) {
///       print(error.what());
///       if (mpi) mpi->abort(error.exit_code());
///       return static_cast<int>(error.exit_code());
///     }
///
/// Thread safety: `abort` may be called by any thread, the rest by one.
class MpiRuntime {
 public:
  struct Limits {
    /// How long the start may wait for other ranks to reach theirs.
    std::chrono::milliseconds start{600'000};
    /// How long the end may wait for other ranks to reach theirs.
    std::chrono::milliseconds finalize{60'000};
    /// How long MPI_Abort may take.
    std::chrono::milliseconds abort{5'000};
  };

  /// Whether a launcher (mpirun, mpiexec, srun) has started this process as a
  /// rank of a job. Otherwise the self backend does, without MPI; a runtime
  /// works all the same, as a world of one rank.
  static bool launched_by_mpi();

  /// Collective over all processes of the job. When that takes longer than its
  /// limit, it says so and ends the process with `ExitCode::communication`.
  /// Errors: `CommunicationError`; `InternalError` when this process has
  /// started MPI before.
  MpiRuntime() : MpiRuntime(Limits()) {}
  explicit MpiRuntime(Limits limits);

  /// Collective: waits for operations under way, then finalizes MPI. When that
  /// takes longer than its limit, because other ranks are stuck or gone, it
  /// says so and ends the process with `ExitCode::communication`. During stack
  /// unwinding it finalizes nothing: the process must then end with a code
  /// other than zero, and the launcher ends the other ranks.
  ~MpiRuntime();
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  /// All ranks, on the CPU. Lives as long as the runtime; groups from `split`
  /// may outlive it, but every operation of theirs then fails.
  Communicator& world() const;
  /// Collective over `world()`: a further communicator of all ranks, with an
  /// order of operations of its own. `max_count`: most elements that one call
  /// of MPI moves.
  std::unique_ptr<Communicator> duplicate_world(
      std::string axis,
      std::int64_t max_count = std::int64_t{1} << 30) const;

  /// The other ranks on this host. May outlive the runtime.
  std::shared_ptr<const LocalPeers> peers() const;

  /// This rank's place among the ranks on this host, and their number.
  int local_rank() const;
  int local_size() const;

  /// Ends all ranks of the job with `code`, of which the caller has said why:
  /// the others on this host are told so (`LocalPeers::tell`). MPI_Abort on the
  /// MPI thread or, when MPI does not get to it in time, this process alone
  /// (the launcher then ends the others).
  [[noreturn]] void abort(ExitCode code) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mumoe::dist
