/* A stand-in for libnvidia-ml.so.1 with four GPUs, for the tests: the symbols that nvidia-ml-py calls in a sweep.
 * Functions that begin with standin_ change what the GPUs tell. Energy grows with real time at the set power. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define GPUS 4
#define OK 0
#define UNINITIALIZED 1
#define INVALID_ARGUMENT 2
#define NOT_SUPPORTED 3
#define DRIVER_NOT_LOADED 9
#define TIMEOUT 10
#define GPU_IS_LOST 15
#define API __attribute__((visibility("default")))

typedef int result;
typedef struct gpu {
    int index, lost, mig, xids[16], xid_count;
    unsigned power_mw, temperature, replaced;
    double energy_mj;
    int64_t since_us;
} gpu;
typedef struct { unsigned id, scope; int64_t timestamp, latency; int type; result code; union {
    double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; int si; unsigned short us; } value; } field_value;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { gpu *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } event_data;
typedef struct { unsigned version; int margin; } margin_v1;

static gpu gpus[GPUS];
static int fields_code, stuck, busy = 97;
static int initialised, driver = 1, set_up;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t xid_came = PTHREAD_COND_INITIALIZER;

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void set_up_once(void) {
    for (int i = 0; !set_up && i < GPUS; i++)
        gpus[i] = (gpu){.index = i, .power_mw = 700000 + 50000 * (unsigned)i, .temperature = 45 + (unsigned)i,
                        .energy_mj = 1e9, .since_us = now_us()};
    set_up = 1;
}

static void accrue(gpu *g) {
    int64_t now = now_us();
    if (!stuck) g->energy_mj += g->power_mw * ((double)(now - g->since_us) / 1e6);
    g->since_us = now;
}

static result check(gpu *g) {
    if (!driver) return DRIVER_NOT_LOADED;
    if (!initialised) return UNINITIALIZED;
    if (g && g->lost) return GPU_IS_LOST;
    return OK;
}
#define CHECK(g) do { result code_ = check(g); if (code_) return code_; } while (0)

/* what a test changes */
API void standin_power(int i, unsigned mw) { accrue(&gpus[i]); gpus[i].power_mw = mw; }
API void standin_lose(int i, int lost) { gpus[i].lost = lost; }
API void standin_mig(int i, int on) { gpus[i].mig = on; }
API void standin_replace(int i) { gpus[i].replaced++; gpus[i].energy_mj = 0; }
API void standin_reset_energy(int i) { gpus[i].energy_mj = 0; }
API void standin_driver(int loaded) { driver = loaded; if (!loaded) initialised = 0; }
API void standin_xid(int i, int xid) {
    pthread_mutex_lock(&lock);
    if (gpus[i].xid_count < 16) gpus[i].xids[gpus[i].xid_count++] = xid;
    pthread_cond_broadcast(&xid_came);
    pthread_mutex_unlock(&lock);
}
API void standin_fields_fail(int code) { fields_code = code; }
API void standin_stuck(int on) { stuck = on; }
API void standin_busy(int percent) { busy = percent; }
API void standin_fresh(void) { set_up = 0; fields_code = stuck = 0; busy = 97; driver = 1; initialised = 0; set_up_once(); }

API result nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (!driver) return DRIVER_NOT_LOADED;
    set_up_once();
    initialised++;
    return OK;
}
API result nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API result nvmlShutdown(void) { if (!initialised) return UNINITIALIZED; initialised--; return OK; }
API const char *nvmlErrorString(result code) { (void)code; return "stand-in error"; }
API result nvmlSystemGetDriverVersion(char *text, unsigned size) { CHECK(NULL); snprintf(text, size, "999.12"); return OK; }
API result nvmlDeviceGetCount_v2(unsigned *count) { CHECK(NULL); *count = GPUS; return OK; }
API result nvmlDeviceGetHandleByIndex_v2(unsigned i, gpu **device) {
    CHECK(NULL);
    if (i >= GPUS) return INVALID_ARGUMENT;
    CHECK(&gpus[i]);
    *device = &gpus[i];
    return OK;
}
API result nvmlDeviceGetUUID(gpu *g, char *text, unsigned size) {
    CHECK(g);
    snprintf(text, size, "GPU-00000000-0000-0000-%04u-%012d", g->replaced, g->index);
    return OK;
}
API result nvmlDeviceGetName(gpu *g, char *text, unsigned size) { CHECK(g); snprintf(text, size, "Stand-in GPU"); return OK; }
API result nvmlDeviceGetTemperature(gpu *g, int sensor, unsigned *t) { (void)sensor; CHECK(g); *t = g->temperature; return OK; }
API result nvmlDeviceGetUtilizationRates(gpu *g, utilization *u) {
    CHECK(g);
    if (g->mig) return NOT_SUPPORTED;
    *u = (utilization){(unsigned)busy, 41};
    return OK;
}
API result nvmlDeviceGetClockInfo(gpu *g, int type, unsigned *mhz) { CHECK(g); *mhz = type == 2 ? 3996 : 1965; return OK; }
API result nvmlDeviceGetCurrentClocksEventReasons(gpu *g, unsigned long long *r) { CHECK(g); *r = 4; return OK; }
API result nvmlDeviceGetMemoryInfo_v2(gpu *g, memory_v2 *m) { CHECK(g); m->total = 192ull << 30; m->used = 150ull << 30; return OK; }
API result nvmlDeviceGetEnforcedPowerLimit(gpu *g, unsigned *mw) { CHECK(g); *mw = 1200000; return OK; }
API result nvmlDeviceGetPowerManagementLimit(gpu *g, unsigned *mw) { CHECK(g); *mw = 1200000; return OK; }
API result nvmlDeviceGetTemperatureThreshold(gpu *g, int kind, unsigned *t) {
    CHECK(g);
    if (kind == 1) return NOT_SUPPORTED; /* newer parts tell a margin instead */
    *t = 105;
    return OK;
}
API result nvmlDeviceGetMarginTemperature(gpu *g, margin_v1 *m) { CHECK(g); m->margin = 40; return OK; }
API result nvmlDeviceGetFanSpeed(gpu *g, unsigned *s) { (void)s; CHECK(g); return NOT_SUPPORTED; /* liquid-cooled */ }

API result nvmlDeviceGetFieldValues(gpu *g, int count, field_value *f) {
    CHECK(g);
    if (fields_code) return fields_code;
    accrue(g);
    for (int i = 0; i < count; i++) {
        f[i].code = OK;
        f[i].timestamp = g->since_us;
        f[i].type = 3;
        switch (f[i].id) {
        case 83: f[i].value.ull = (unsigned long long)g->energy_mj; break;
        case 185: case 186: /* power, average and instant; the module draws a tenth more */
            f[i].type = 1;
            f[i].value.ui = f[i].scope == 1 ? g->power_mw / 10 * 11 : g->power_mw;
            break;
        case 82: f[i].type = 1; f[i].value.ui = g->temperature + 8; break;
        case 3: f[i].value.ull = 2; break;
        case 4: f[i].value.ull = ~0ull; break; /* blank: no reading */
        case 142: f[i].type = 1; f[i].value.ui = 1; break;
        case 143: f[i].type = 1; f[i].value.ui = 2; break;
        case 144: f[i].type = 1; f[i].value.ui = 0; break;
        case 94: f[i].type = 1; f[i].value.ui = 7; break;
        case 138: case 139:
            if (f[i].scope != 0xFFFFFFFFu) { f[i].code = INVALID_ARGUMENT; break; }
            f[i].value.ull = 1000 + f[i].id;
            break;
        default: f[i].code = NOT_SUPPORTED;
        }
    }
    return OK;
}

API result nvmlDeviceGetTotalEnergyConsumption(gpu *g, unsigned long long *mj) {
    CHECK(g);
    accrue(g);
    *mj = (unsigned long long)g->energy_mj;
    return OK;
}
API result nvmlDeviceGetPowerUsage(gpu *g, unsigned *mw) { CHECK(g); *mw = g->power_mw; return OK; }

API result nvmlEventSetCreate(void **set) { CHECK(NULL); *set = &lock; return OK; }
API result nvmlDeviceRegisterEvents(gpu *g, unsigned long long types, void *set) {
    (void)set;
    CHECK(g);
    return types & 8 ? OK : NOT_SUPPORTED;
}
API result nvmlEventSetFree(void *set) { (void)set; return OK; }
API result nvmlEventSetWait_v2(void *set, event_data *event, unsigned timeout_ms) {
    (void)set;
    CHECK(NULL);
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    end.tv_sec += timeout_ms / 1000 + end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    result code = TIMEOUT;
    pthread_mutex_lock(&lock);
    for (;;) {
        for (int i = 0; i < GPUS; i++)
            if (gpus[i].xid_count) {
                *event = (event_data){&gpus[i], 8, (unsigned)gpus[i].xids[0], ~0u, ~0u};
                memmove(gpus[i].xids, gpus[i].xids + 1, sizeof gpus[i].xids - sizeof gpus[i].xids[0]);
                gpus[i].xid_count--;
                pthread_mutex_unlock(&lock);
                return OK;
            }
        if (!timeout_ms || pthread_cond_timedwait(&xid_came, &lock, &end)) break;
    }
    pthread_mutex_unlock(&lock);
    return code;
}
