#include "study/predict/axis_group.h"

#include <algorithm>
#include <cmath>

namespace mumoe::study {

Collective over_group(Group group,
                      dist::MeshShape shape,
                      double gpus_per_node) {
  const double tp = shape.tp, dp = shape.dp;
  Collective over;
  over.axis = group == Group::tp ? Axis::tp : Axis::dp;
  switch (group) {
    case Group::tp:
      over.ranks = tp;
      over.ranks_per_node = std::min(tp, gpus_per_node);
      over.groups_per_node =
          std::max(std::floor(gpus_per_node / over.ranks_per_node), 1.0);
      break;
    case Group::dp:
      over.ranks = dp;
      over.ranks_per_node =
          std::clamp(std::floor(gpus_per_node / tp), 1.0, std::max(dp, 1.0));
      over.groups_per_node = std::min(tp, gpus_per_node);
      break;
    case Group::all:
      over.ranks = tp * dp;
      over.ranks_per_node = std::min(over.ranks, gpus_per_node);
      break;
  }
  return over;
}

}  // namespace mumoe::study
