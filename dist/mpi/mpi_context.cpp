#include "dist/mpi/mpi_context.h"

namespace mumoe::dist {

std::shared_ptr<std::byte[]> StagingPool::borrow(
    const std::shared_ptr<StagingPool>& pool,
    std::size_t bytes) {
  std::unique_ptr<std::byte[]> data;
  {
    std::lock_guard lock(pool->mutex_);
    // The smallest that is large enough; else the largest makes room.
    auto found = pool->free_.lower_bound(bytes);
    if (found == pool->free_.end() && !pool->free_.empty()) --found;
    if (found != pool->free_.end()) {
      if (found->first >= bytes) {
        data = std::move(found->second);
        bytes = found->first;
      }
      pool->free_.erase(found);
    }
  }
  if (!data) data.reset(new std::byte[bytes]);
  return {data.release(), [pool, bytes](std::byte* used) {
            std::lock_guard lock(pool->mutex_);
            pool->free_.emplace(bytes, used);
          }};
}

MpiGroup::~MpiGroup() {
  auto free = [handle = comm](MpiTask::Requests&, const std::string&) mutable {
    MPI_Comm_free(&handle);
  };
  context->thread->post(
      std::make_shared<MpiTask>("end of a group",
                                std::chrono::milliseconds(0),
                                std::vector<MpiTask::Step>{std::move(free)}));
}

}  // namespace mumoe::dist
