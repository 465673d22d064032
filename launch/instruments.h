#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "dist/watch/link_model.h"
#include "dist/watch/trace.h"
#include "run/options.h"

namespace mumoe::launch {

/// What watches a run beside its work: the model of a slow link
/// (parallel.link), the check of replicas (parallel.check_replicas) and the
/// trace (log.trace), each where its key asks for it. Made before the mesh and
/// destroyed after it.
class Instruments {
 public:
  /// Collective over `world`. Throws `InputError` for a link that cannot be
  /// read and a trace that cannot be written.
  Instruments(const run::Options& options, dist::Communicator& world);

  /// Lets them see `mesh`; after all other observers.
  void observe(dist::ProcessMesh& mesh);
  /// What to call after each step, with its number; collective. The arguments
  /// must outlive it.
  std::function<void(std::int64_t)> after_step(
      const dist::FlatBuckets& buckets,
      const dist::ProcessMesh& mesh) const;
  /// Writes what is to be written, and says in a line or none what was found.
  /// A trace that cannot be written is a line on stderr.
  std::string finish();

 private:
  std::int64_t check_replicas_;
  std::optional<dist::LinkModel> link_;
  std::optional<dist::Trace> trace_;
};

}  // namespace mumoe::launch
