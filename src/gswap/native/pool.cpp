#include "pool.h"

#include <nanobind/nanobind.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace nb = nanobind;

namespace gswap {
namespace {

constexpr int MAX_THREADS = 256;

// Tasks [front, back) that a worker has before it, in one word: it takes them from the front, the others from the back.
struct alignas(64) Share {
    std::atomic<uint64_t> span{0};

    void fill(uint32_t front, uint32_t back) { span.store(uint64_t(front) << 32 | back, std::memory_order_relaxed); }

    // -1 = none is left.
    int take(bool from_front) {
        uint64_t seen = span.load(std::memory_order_relaxed);
        for (;;) {
            const uint32_t front = uint32_t(seen >> 32), back = uint32_t(seen);
            if (front >= back) return -1;
            const uint64_t rest = from_front ? uint64_t(front + 1) << 32 | back : uint64_t(front) << 32 | (back - 1);
            if (span.compare_exchange_weak(seen, rest, std::memory_order_relaxed))
                return int(from_front ? front : back - 1);
        }
    }
};

struct Job {
    const std::function<void(int, int)> *work;
    int workers;
    Share *shares; // neighbouring tasks use the same memory, so each worker begins with a run of them
    int seats;     // workers that may still join, the caller not counted
    std::atomic<bool> failed{false};
    int joined = 0; // workers inside, guarded by Pool::mutex
    std::exception_ptr error;
    std::mutex error_mutex;

    // The worker's own tasks, then what the others have not come to.
    void run(int worker) {
        try {
            for (int k = 0; k < workers; ++k) {
                Share &share = shares[(worker + k) % workers];
                for (int task; !failed.load(std::memory_order_relaxed) && (task = share.take(k == 0)) >= 0;)
                    (*work)(task, worker);
            }
        } catch (...) {
            std::lock_guard<std::mutex> lock(error_mutex);
            if (!error) error = std::current_exception();
            failed.store(true, std::memory_order_relaxed);
        }
    }
};

// Never destroyed: its threads wait in it until the process ends.
struct Pool {
    std::mutex mutex;
    std::condition_variable wake, left;
    Job *job = nullptr; // guarded by mutex
    int threads = 0;    // started so far, guarded by mutex
    std::atomic<bool> busy{false};
    Share shares[MAX_THREADS]; // of the job

    void serve() {
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            wake.wait(lock, [&] { return job != nullptr && job->seats > 0; });
            Job *mine = job;
            const int worker = mine->seats--;
            ++mine->joined;
            lock.unlock();
            mine->run(worker);
            lock.lock();
            if (--mine->joined == 0) left.notify_one();
        }
    }

    void run(int tasks, int workers, const std::function<void(int, int)> &work) {
        for (int k = 0; k < workers; ++k)
            shares[k].fill(uint32_t(int64_t(tasks) * k / workers), uint32_t(int64_t(tasks) * (k + 1) / workers));
        Job mine;
        mine.work = &work;
        mine.workers = workers;
        mine.shares = shares;
        mine.seats = workers - 1;
        {
            std::lock_guard<std::mutex> lock(mutex);
            for (; threads < workers - 1; ++threads) std::thread(&Pool::serve, this).detach();
            job = &mine;
        }
        for (int k = 1; k < workers; ++k) wake.notify_one();
        mine.run(0);
        {
            std::unique_lock<std::mutex> lock(mutex);
            job = nullptr; // who wakes up late finds nothing to do
            left.wait(lock, [&] { return mine.joined == 0; });
        }
        if (mine.error) std::rethrow_exception(mine.error);
    }
};

std::atomic<Pool *> the_pool{nullptr};
std::atomic<int> wanted_threads{0};

Pool &pool() {
    Pool *found = the_pool.load(std::memory_order_acquire);
    if (found) return *found;
#if !defined(_WIN32)
    // A forked child has the pool's memory but none of its threads: it starts afresh.
    static const int registered = pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr); });
    (void)registered;
#endif
    Pool *fresh = new Pool;
    if (the_pool.compare_exchange_strong(found, fresh)) return *fresh;
    delete fresh;
    return *found;
}

int default_threads() {
    int available = int(std::thread::hardware_concurrency());
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) available = CPU_COUNT(&allowed);
#endif
    available = std::max(available, 1);
    if (const char *text = std::getenv("GSWAP_THREADS")) {
        const int asked = std::atoi(text);
        if (asked >= 1) return std::min(asked, MAX_THREADS);
    }
    return std::min(available, MAX_THREADS);
}

} // namespace

int thread_count() {
    const int asked = wanted_threads.load(std::memory_order_relaxed);
    static const int automatic = default_threads();
    return asked > 0 ? asked : automatic;
}

void set_thread_count(int n) {
    if (n < 0 || n > MAX_THREADS)
        throw std::invalid_argument("The number of threads should be 0 (automatic) to " + std::to_string(MAX_THREADS) +
                                    ", found " + std::to_string(n) + ".");
    wanted_threads.store(n, std::memory_order_relaxed);
}

void parallel_for(int tasks, int workers, const std::function<void(int, int)> &work) {
    workers = std::min(workers, tasks);
    if (workers > 1) {
        Pool &shared = pool();
        if (!shared.busy.exchange(true, std::memory_order_acquire)) {
            struct Release {
                Pool &pool;
                ~Release() { pool.busy.store(false, std::memory_order_release); }
            } release{shared};
            shared.run(tasks, workers, work);
            return;
        }
    }
    for (int task = 0; task < tasks; ++task) work(task, 0);
}

} // namespace gswap

void register_pool(nb::module_ &m) {
    m.def("set_num_threads", &gswap::set_thread_count, nb::arg("n"),
          "Threads that the kernels may use; 0 = automatic (GSWAP_THREADS, else the processors this process may use).");
    m.def("get_num_threads", &gswap::thread_count, "Threads that the kernels may use.");
}
