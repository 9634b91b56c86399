// One pool of threads for every kernel. Idle threads block; nothing spins.
#pragma once
#include <functional>

namespace gswap {

// Run work(task, worker) for task in [0, tasks), worker in [0, workers), and wait. Each worker begins with a run of
// neighbouring tasks, whose memory it then has in its own cache, and helps the others when it is done with them. So a task
// must not care which worker runs it: results are the same for any number of threads.
// A call from a second thread while the pool is busy runs in that thread alone.
void parallel_for(int tasks, int workers, const std::function<void(int task, int worker)> &work);

// How many workers a call may use: set by set_thread_count, else GSWAP_THREADS, else the processors this process may use.
int thread_count();
// n >= 1 sets the number of threads; 0 goes back to the default.
void set_thread_count(int n);

} // namespace gswap
