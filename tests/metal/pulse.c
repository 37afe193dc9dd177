/* Keeps the metal machine's processors hearing interrupts. Under emulation one can miss that an interrupt has ended, and
 * is then deaf to all of lower rank, its own timer first. While a program runs no interrupt is at work: an APIC that
 * thinks so then is told that it has ended. There are two of this program, since one that sleeps on a deaf processor
 * does not wake.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define APIC 0xfee00000
#define END_OF_INTERRUPT (0xb0 / 4)
#define IN_SERVICE(word) ((0x100 + 0x10 * (word)) / 4)
#define WORDS 8
#define PROCESSORS 8

/* Go on there, unless it is switched off. */
static int move_to(int number)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(number, &one);
    return sched_setaffinity(0, sizeof one, &one);
}

int main(void)
{
    int memory = open("/dev/mem", O_RDWR | O_SYNC);
    volatile unsigned *apic = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, APIC);
    int log = open("/dev/kmsg", O_WRONLY);
    struct sched_param priority = {.sched_priority = 1};
    int home = fork() ? 0 : PROCESSORS / 2;

    /* A deaf processor hears of no disk either: nothing may have to be read then. */
    if (apic == MAP_FAILED || mlockall(MCL_CURRENT | MCL_FUTURE) || sched_setscheduler(0, SCHED_FIFO, &priority))
        return 1;
    for (;;) {
        for (int number = 0; number < PROCESSORS; number++) {
            if (move_to(number))
                continue;
            for (int word = 0; word < WORDS; word++)
                if (apic[IN_SERVICE(word)]) {
                    apic[END_OF_INTERRUPT] = 0;
                    dprintf(log, "metal-pulse: processor %d was deaf\n", number);
                }
        }
        move_to(home);
        sleep(1);
    }
}
