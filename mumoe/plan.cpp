#include "mumoe/plan.h"

namespace mumoe {

std::string_view to_string(Plan plan) {
  switch (plan) {
    case Plan::sequence:
      return "sequence";
    case Plan::bottleneck:
      return "bottleneck";
    case Plan::rank:
      return "rank";
  }
  return "?";
}

}  // namespace mumoe
