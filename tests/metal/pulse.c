/* Keeps the metal machine's processors hearing interrupts. Under emulation one can miss that an interrupt has ended, in
 * and out of guests, and is then deaf to all of lower rank, its own timer first. A program runs where no interrupt is at
 * work, so to tell each processor's APIC from there that one has ended does no harm where all is well.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#define APIC 0xfee00000
#define END_OF_INTERRUPT (0xb0 / 4)
#define PROCESSORS 8

int main(void)
{
    int memory = open("/dev/mem", O_RDWR | O_SYNC);
    volatile unsigned *apic = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, APIC);
    struct sched_param priority = {.sched_priority = 1};

    /* A deaf processor hears of no disk either: nothing may have to be read then. */
    if (apic == MAP_FAILED || mlockall(MCL_CURRENT | MCL_FUTURE) || sched_setscheduler(0, SCHED_FIFO, &priority))
        return 1;
    for (;;) {
        for (int number = 0; number < PROCESSORS; number++) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(number, &one);
            if (sched_setaffinity(0, sizeof one, &one) == 0) /* or it is switched off */
                apic[END_OF_INTERRUPT] = 0;
        }
        sleep(1);
    }
}
