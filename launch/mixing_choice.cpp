#include "launch/mixing_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "dist/gather_text.h"
#include "dist/params/placement.h"
#include "launch/memory.h"
#include "launch/plan_choice.h"
#include "model/families.h"
#include "mumoe/mixing_rate.h"
#include "run/option_table.h"

namespace mumoe::launch {

double choose_sparse_share(const run::Options& options,
                           Compute& compute,
                           dist::Communicator& world,
                           std::int64_t micro_batch) {
  const model::ModelConfig& model = options.model;
  const model::Family& family = model::family(options.family);
  if (!compute.device.is_cuda() || !model::has_mixtures(family, model) ||
      model.mlp.mixing != Mixing::automatic) {
    return 0;
  }
  const auto precision = run::to_map(compute.settled({})).at("train.precision");
  Figures figures =
      compute_figures(options, compute.device, world, micro_batch);
  const std::string problem =
      dist::gather_text(world, figures.problem()).front();
  if (options.deterministic && !problem.empty()) {
    compute.reasons.push_back(
        "mixing auto: dense, since what is measured could not be remembered (" +
        problem + ") and the next start might choose otherwise");
    return 0;
  }
  const double share = figures.get("sparse share in " + precision, 1, [&] {
    // As they are stored.
    const auto kinds = family.mlps(model);
    const auto& mlp = *std::ranges::find(kinds.rbegin(),
                                         kinds.rend(),
                                         false,
                                         &model::MlpKind::dense);
    auto ranks = mlp.block.ranks;
    ranks.back() =
        dist::rounded_up(ranks.back(), train::row_multiple(compute.device));
    const auto times = with_room_on_gpu(micro_batch, [&] {
      return measure_mixing(mlp.block.shape().layers(ranks),
                            micro_batch * mlp.tokens,
                            compute.dtype,
                            compute.device);
    });
    return Figures::Values{sparse_share(times)};
  })[0];
  compute.reasons.push_back(
      share > 0
          ? fmt::format(
                "mixing auto: dense, and sparse while at most {:.2g} % of "
                "the experts are active, as measured",
                100 * share)
          : "mixing auto: dense, measured to be faster however few "
            "experts are active");
  return share;
}

}  // namespace mumoe::launch
