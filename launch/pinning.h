#pragma once

#include <string>
#include <vector>

#include "dist/communicator.h"

namespace mumoe::launch {

/// A logical CPU of this host and where it sits.
struct Cpu {
  int id = 0;
  int node = 0;     ///< NUMA node.
  int package = 0;  ///< Socket.
  int core = 0;     ///< Physical core: the first of its logical CPUs.
};

/// What the calling thread may run on, ordered by NUMA node, socket, core, id:
/// neighbours share as much as possible. Where /sys tells nothing, every CPU is
/// a core of its own.
std::vector<Cpu> allowed_cpus();

/// How many physical cores `cpus`, ordered as above, belong to.
int count_cores(const std::vector<Cpu>& cpus);

/// Part `part` of `parts` parts of equal size: whole physical cores where there
/// are that many, else logical CPUs. What is left over belongs to nobody. Empty
/// when there are fewer CPUs than parts.
std::vector<Cpu> share_of(const std::vector<Cpu>& cpus, int part, int parts);

/// "0-3,8"
std::string to_text(std::vector<int> ids);
/// The CPUs that the calling thread may run on, as such a text.
std::string cpus_of_this_thread();

/// Gives this rank cores and threads of its own. The ranks of a host that may
/// run on the same CPUs (as under `mpirun --bind-to none`, which launch/mpirun
/// uses, or `--bind-to socket`) divide them; a rank that its launcher has bound
/// apart from the others keeps what it has. Then a rank computes with a thread
/// for every physical core of its part, or with OMP_NUM_THREADS.
///
/// Where the CPUs belong to several NUMA nodes, or under MUMOE_PIN=yes, the
/// calling thread is bound to the part, and so are all threads that it starts
/// afterwards. Those of MPI are there already and stay free to run wherever a
/// core is idle. Nothing is bound when there are fewer CPUs than ranks, when
/// OMP_NUM_THREADS asks for more than the part has, or under MUMOE_PIN=no.
///
/// Collective over `world`, before the first parallel region. Throws
/// `InputError` for a MUMOE_PIN other than auto, yes or no.
void pin_to_cores(dist::Communicator& world);

}  // namespace mumoe::launch
