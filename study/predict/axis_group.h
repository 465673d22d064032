#pragma once

#include "dist/process_mesh.h"
#include "study/predict/step_work.h"

namespace mumoe::study {

/// The groups of ranks that sum and gather: those of tp, those of dp, and all.
enum class Group { tp, dp, all };

/// A collective over a group of a mesh of `shape`, as the links of machines
/// with so many ranks a node see it: tp's ranks are neighbours, and nodes are
/// filled. Its kind, bytes and times are left to the caller.
Collective over_group(Group group, dist::MeshShape shape, double gpus_per_node);

}  // namespace mumoe::study
