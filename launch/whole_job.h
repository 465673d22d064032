#pragma once

namespace mumoe::launch {

/// Throws `InputError` when srun has started several processes of which this
/// one sees none: an MPI that does not speak srun's protocol makes each of them
/// a run of its own, and all would write to one run directory. `ranks`: of this
/// process's world, 1 without MPI.
void require_whole_job(int ranks);

}  // namespace mumoe::launch
