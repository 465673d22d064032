#pragma once

#include <memory>

#include "dist/communicator.h"

namespace mumoe::dist {

/// A mesh of which one rank runs alone.
struct NullMesh {
  int dp = 1;
  int tp = 1;
  /// World rank of the one that runs.
  int rank = 0;
};

/// The world of `mesh` as one of its ranks sees it, with nobody else there: for
/// the memory and the time of one rank of a run of any size. Nothing moves and
/// nothing waits. Results have the right shapes, and finite values:
///
///   all_reduce, broadcast   the tensor as it is
///   all_gather              this rank's shard in every place; where the shard
///                           is a part of `whole`, all stays as it is
///   reduce_scatter          this rank's own part, not summed
///   all_to_all              a copy
///
/// Calls and bytes are counted as if the others were there. `split` knows the
/// axes of a `ProcessMesh` by their names, "dp", "tp" and "all", and takes the
/// key, which must be the rank in the new group, as that; a group can also be
/// split into the like of itself. `InternalError` for other splits, and for a
/// rank outside of the mesh.
std::unique_ptr<Communicator> make_null_communicator(
    const NullMesh& mesh,
    at::Device device = at::kCPU);

}  // namespace mumoe::dist
