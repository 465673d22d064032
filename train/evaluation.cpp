#include "train/evaluation.h"

#include <fmt/format.h>

namespace mumoe::train {

std::string describe_shares(const Evaluation& evaluation) {
  std::string text;
  if (evaluation.top1) {
    text += fmt::format(", top-1 {:.2f} %", 100 * *evaluation.top1);
  }
  if (evaluation.top5) {
    text += fmt::format(", top-5 {:.2f} %", 100 * *evaluation.top5);
  }
  return text;
}

}  // namespace mumoe::train
