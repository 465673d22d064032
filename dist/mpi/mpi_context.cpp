#include "dist/mpi/mpi_context.h"

namespace mumoe::dist {

std::shared_ptr<std::byte[]> StagingPool::borrow(
    const std::shared_ptr<StagingPool>& pool,
    std::size_t bytes) {
  auto buffer = std::make_unique<Buffer>(pool->take(bytes));
  std::byte* data = buffer->data.get();
  std::shared_ptr<Buffer> holder(buffer.release(), [pool](Buffer* used) {
    pool->give_back(std::move(*used));
    delete used;
  });
  return {std::move(holder), data};
}

StagingPool::Buffer StagingPool::take(std::size_t bytes) {
  {
    std::lock_guard lock(mutex_);
    // The smallest that is large enough; else the largest makes room.
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->size >= bytes && (best == free_.end() || it->size < best->size)) {
        best = it;
      }
    }
    if (best != free_.end()) {
      Buffer buffer = std::move(*best);
      free_.erase(best);
      return buffer;
    }
    if (!free_.empty()) free_.pop_back();
  }
  return {std::unique_ptr<std::byte[]>(new std::byte[bytes]), bytes};
}

void StagingPool::give_back(Buffer buffer) {
  std::lock_guard lock(mutex_);
  free_.push_back(std::move(buffer));
}

MpiGroup::~MpiGroup() {
  context->thread->post([handle = comm]() mutable { MPI_Comm_free(&handle); });
}

}  // namespace mumoe::dist
