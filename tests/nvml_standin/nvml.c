/* A stand-in for libnvidia-ml.so.1, for the tests: the symbols that nvidia-ml-py calls in a sweep. Four GPUs of its own,
 * or those of a table (standin_load, or the file that STANDIN_TABLE names; tests/nvml_standin/capture.py writes it): what is
 * not in the table is not supported. Functions that begin with standin_ change what the GPUs tell. Energy grows with real time at
 * the set power. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GPUS 8
#define OWN 4
#define ANSWERS 96
#define OK 0
#define UNINITIALIZED 1
#define INVALID_ARGUMENT 2
#define NOT_SUPPORTED 3
#define DRIVER_NOT_LOADED 9
#define TIMEOUT 10
#define GPU_IS_LOST 15
#define ARGUMENT_VERSION_MISMATCH 25
#define API __attribute__((visibility("default")))

typedef int result;
/* what one call or field answers: name or id and scope, the code, the value, and its growth in a second */
typedef struct { char name[40]; unsigned id, scope; int type, code; double value, rate; } answer;
typedef struct gpu {
    int index, lost, mig, xids[16], xid_count, links, links_down, answer_count;
    answer answers[ANSWERS];
    char uuid[64], name[64], serial[32], chassis[16];
    int slot, tray, host, module;
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

typedef struct { unsigned version; char ib_guid[16], chassis[16]; unsigned char slot, tray, host, peer, module; } platform_v2;
typedef struct { unsigned version; unsigned char cluster[16]; result status; unsigned clique, state, mask; unsigned char summary; } fabric_v3;
typedef struct { unsigned version, channel, tpc; } repair_v1;
typedef struct { unsigned version; unsigned long long counts[11]; unsigned exceeded; } sram_v1;

static gpu gpus[GPUS];
static int table, count = OWN;
static char driver_version[32] = "999.12";
static int64_t table_since_us;
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
                        .energy_mj = 1e9, .since_us = now_us(), .links = 18};
    set_up = 1;
}

static answer *sought(gpu *g, const char *name, unsigned id, unsigned scope) {
    for (int i = 0; i < g->answer_count; i++) {
        answer *a = &g->answers[i];
        if (name ? !strcmp(a->name, name) : (!a->name[0] && a->id == id && a->scope == scope)) return a;
    }
    return NULL;
}
static double grown(const answer *a) { return a->value + a->rate * ((double)(now_us() - table_since_us) / 1e6); }
/* a call that answers with one number: from the table, or what these GPUs tell themselves */
static result one(gpu *g, const char *name, unsigned *value, result code, unsigned own) {
    if (!table) { *value = own; return code; }
    answer *a = sought(g, name, 0, 0);
    if (!a) return NOT_SUPPORTED;
    *value = (unsigned)grown(a);
    return a->code;
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
static void put(gpu *g, const char *name, unsigned id, unsigned scope, int type, int code, double value, double rate) {
    answer *a = sought(g, name, id, scope);
    if (!a && g->answer_count < ANSWERS) a = &g->answers[g->answer_count++];
    if (!a) abort();
    *a = (answer){.id = id, .scope = scope, .type = type, .code = code, .value = value, .rate = rate};
    if (name) snprintf(a->name, sizeof a->name, "%s", name);
}
/* changes one answer: of a call by its name, else of a field */
API void standin_answer(int i, const char *name, unsigned id, unsigned scope, int type, int code, double value) {
    put(&gpus[i], name, id, scope, type, code, value, 0);
}
/* lines of words parted by tabs: a kind, the GPU, and what the kind needs; "-" is an empty word */
API int standin_load(const char *path) {
    char line[512], *word[8];
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    table = 1;
    set_up = 0;
    set_up_once();
    table_since_us = now_us();
    while (fgets(line, sizeof line, file)) {
        int n = 0;
        line[strcspn(line, "\n")] = 0;
        for (char *w = strtok(line, "\t"); w && n < 8; w = strtok(NULL, "\t")) word[n++] = strcmp(w, "-") ? w : "";
        if (n < 3) continue;
        gpu *g = &gpus[atoi(word[1])];
        if (!strcmp(word[0], "gpus")) {
            count = atoi(word[1]);
            snprintf(driver_version, sizeof driver_version, "%s", word[2]);
        } else if (!strcmp(word[0], "identity")) {
            snprintf(g->uuid, sizeof g->uuid, "%s", word[2]);
            snprintf(g->name, sizeof g->name, "%s", word[3]);
            snprintf(g->serial, sizeof g->serial, "%s", word[4]);
        } else if (!strcmp(word[0], "place")) {
            strncpy(g->chassis, word[2], sizeof g->chassis);
            g->slot = atoi(word[3]); g->tray = atoi(word[4]); g->host = atoi(word[5]); g->module = atoi(word[6]);
        } else if (!strcmp(word[0], "links")) g->links = atoi(word[2]);
        else if (!strcmp(word[0], "power")) g->power_mw = (unsigned)atoi(word[2]);
        else if (!strcmp(word[0], "call")) put(g, word[2], 0, 0, 1, atoi(word[3]), atof(word[4]), atof(word[5]));
        else if (!strcmp(word[0], "field"))
            put(g, NULL, (unsigned)atoi(word[2]), (unsigned)atoi(word[3]), atoi(word[4]), atoi(word[5]), atof(word[6]), atof(word[7]));
    }
    fclose(file);
    return 1;
}
API void standin_links(int i, int links, int down) { gpus[i].links = links; gpus[i].links_down = down; }
API void standin_fresh(void) { table = 0; count = OWN; snprintf(driver_version, sizeof driver_version, "999.12"); set_up = 0; fields_code = stuck = 0; busy = 97; driver = 1; initialised = 0; set_up_once(); }

API result nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (!driver) return DRIVER_NOT_LOADED;
    if (!table && getenv("STANDIN_TABLE") && !standin_load(getenv("STANDIN_TABLE"))) return DRIVER_NOT_LOADED;
    set_up_once();
    initialised++;
    return OK;
}
API result nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API result nvmlShutdown(void) { if (!initialised) return UNINITIALIZED; initialised--; return OK; }
API const char *nvmlErrorString(result code) { (void)code; return "stand-in error"; }
API result nvmlSystemGetDriverVersion(char *text, unsigned size) { CHECK(NULL); snprintf(text, size, "%s", driver_version); return OK; }
API result nvmlDeviceGetCount_v2(unsigned *gpu_count) { CHECK(NULL); *gpu_count = (unsigned)count; return OK; }
API result nvmlDeviceGetHandleByIndex_v2(unsigned i, gpu **device) {
    CHECK(NULL);
    if (i >= (unsigned)count) return INVALID_ARGUMENT;
    CHECK(&gpus[i]);
    *device = &gpus[i];
    return OK;
}
API result nvmlDeviceGetUUID(gpu *g, char *text, unsigned size) {
    CHECK(g);
    if (table) { snprintf(text, size, "%s", g->uuid); return OK; }
    snprintf(text, size, "GPU-00000000-0000-0000-%04u-%012d", g->replaced, g->index);
    return OK;
}
API result nvmlDeviceGetName(gpu *g, char *text, unsigned size) {
    CHECK(g);
    snprintf(text, size, "%s", table ? g->name : "Stand-in GPU");
    return OK;
}
API result nvmlDeviceGetSerial(gpu *g, char *text, unsigned size) {
    CHECK(g);
    if (!table || !g->serial[0]) return NOT_SUPPORTED;
    snprintf(text, size, "%s", g->serial);
    return OK;
}
API result nvmlDeviceGetModuleId(gpu *g, unsigned *id) {
    CHECK(g);
    if (!table || !g->module) return NOT_SUPPORTED;
    *id = (unsigned)g->module;
    return OK;
}
API result nvmlDeviceGetPlatformInfo(gpu *g, platform_v2 *p) {
    CHECK(g);
    if (!table || !g->host) return NOT_SUPPORTED;
    if (p->version != 0x200002c) return ARGUMENT_VERSION_MISMATCH;
    memcpy(p->chassis, g->chassis, sizeof p->chassis);
    p->slot = (unsigned char)g->slot; p->tray = (unsigned char)g->tray; p->host = (unsigned char)g->host;
    p->module = (unsigned char)g->module;
    return OK;
}
API result nvmlDeviceGetTemperature(gpu *g, int sensor, unsigned *t) { (void)sensor; CHECK(g); return one(g, "temperature", t, OK, g->temperature); }
API result nvmlDeviceGetUtilizationRates(gpu *g, utilization *u) {
    CHECK(g);
    if (g->mig) return NOT_SUPPORTED;
    result code = one(g, "utilization", &u->gpu, OK, (unsigned)busy);
    return code ? code : one(g, "memory utilization", &u->memory, OK, 41);
}
API result nvmlDeviceGetClockInfo(gpu *g, int type, unsigned *mhz) {
    CHECK(g);
    return one(g, type == 2 ? "memory clock" : "clock", mhz, OK, type == 2 ? 3996 : 1965);
}
API result nvmlDeviceGetCurrentClocksEventReasons(gpu *g, unsigned long long *r) {
    unsigned low = 0;
    CHECK(g);
    result code = one(g, "reasons", &low, OK, 4);
    *r = low;
    return code;
}
API result nvmlDeviceGetMemoryInfo_v2(gpu *g, memory_v2 *m) {
    CHECK(g);
    m->total = 192ull << 30;
    m->used = 150ull << 30;
    if (table) {
        answer *total = sought(g, "memory total", 0, 0), *used = sought(g, "memory used", 0, 0);
        if (!total || !used) return NOT_SUPPORTED;
        m->total = (unsigned long long)total->value;
        m->used = (unsigned long long)used->value;
    }
    return OK;
}
API result nvmlDeviceGetEnforcedPowerLimit(gpu *g, unsigned *mw) { CHECK(g); return one(g, "limit", mw, OK, 1200000); }
API result nvmlDeviceGetPowerManagementLimit(gpu *g, unsigned *mw) { CHECK(g); return one(g, "set limit", mw, OK, 1200000); }
API result nvmlDeviceGetTemperatureThreshold(gpu *g, int kind, unsigned *t) {
    CHECK(g); /* newer parts tell a margin instead */
    return one(g, kind == 2 ? "memory max" : "threshold", t, kind == 2 ? OK : NOT_SUPPORTED, 105);
}
API result nvmlDeviceGetMarginTemperature(gpu *g, margin_v1 *m) { CHECK(g); return one(g, "margin", (unsigned *)&m->margin, OK, 40); }
API result nvmlDeviceGetFanSpeed(gpu *g, unsigned *s) { CHECK(g); return one(g, "fan", s, NOT_SUPPORTED, 0); /* liquid-cooled */ }
API result nvmlDeviceGetCurrPcieLinkGeneration(gpu *g, unsigned *n) { CHECK(g); return one(g, "PCIe", n, OK, 5); }
API result nvmlDeviceGetMaxPcieLinkGeneration(gpu *g, unsigned *n) { CHECK(g); return one(g, "PCIe max", n, OK, 5); }
API result nvmlDeviceGetCurrPcieLinkWidth(gpu *g, unsigned *n) { CHECK(g); return one(g, "PCIe width", n, OK, 16); }
API result nvmlDeviceGetMaxPcieLinkWidth(gpu *g, unsigned *n) { CHECK(g); return one(g, "PCIe width max", n, OK, 16); }
API result nvmlDeviceGetNvLinkState(gpu *g, unsigned link, int *state) {
    CHECK(g);
    if (!g->links) return NOT_SUPPORTED;
    if (link >= (unsigned)g->links) return INVALID_ARGUMENT;
    *state = link >= (unsigned)g->links_down;
    return OK;
}
API result nvmlDeviceGetGpuFabricInfoV(gpu *g, fabric_v3 *f) {
    unsigned state, summary;
    CHECK(g);
    result code = one(g, "fabric", &state, OK, 3);
    if (!code) code = one(g, "fabric health", &summary, OK, 1);
    f->state = state;
    f->status = OK;
    f->summary = (unsigned char)summary;
    return code;
}
API result nvmlDeviceGetRepairStatus(gpu *g, repair_v1 *r) {
    CHECK(g);
    result code = one(g, "channel repair", &r->channel, OK, 0);
    return code ? code : one(g, "TPC repair", &r->tpc, OK, 0);
}
API result nvmlDeviceGetSramEccErrorStatus(gpu *g, sram_v1 *s) { CHECK(g); return one(g, "SRAM threshold", &s->exceeded, OK, 0); }

API result nvmlDeviceGetFieldValues(gpu *g, int count, field_value *f) {
    CHECK(g);
    if (fields_code) return fields_code;
    accrue(g);
    for (int i = 0; i < count; i++) {
        f[i].code = OK;
        f[i].timestamp = g->since_us;
        f[i].type = 3;
        if (table && f[i].id != 83) {
            answer *a = sought(g, NULL, f[i].id, f[i].scope);
            f[i].code = a ? a->code : NOT_SUPPORTED;
            if (!a || a->code) continue;
            f[i].type = a->type;
            if (a->type == 5) f[i].value.si = (int)a->value;
            else if (a->type == 1) f[i].value.ui = (unsigned)grown(a);
            else f[i].value.ull = (unsigned long long)grown(a);
            continue;
        }
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
