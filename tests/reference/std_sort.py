"""std::sort of GCC's library (bits/stl_algo.h), for orders of equal items that it decides; short of its heapsort."""


def std_sort(items, less):
    """Return the sorted items."""
    items = list(items)
    _loop(items, 0, len(items), 2 * (len(items).bit_length() - 1), less)
    for i in range(1, len(items)):  # insertion
        j, item = i, items[i]
        while j > 0 and less(item, items[j - 1]):
            items[j] = items[j - 1]
            j -= 1
        items[j] = item
    return items


def _loop(a, first, last, depth, less):
    while last - first > 16:
        if depth == 0:
            raise NotImplementedError("heapsort")
        depth -= 1
        middle = first + (last - first) // 2
        x, y, z = first + 1, middle, last - 1
        if less(a[x], a[y]):
            pivot = y if less(a[y], a[z]) else z if less(a[x], a[z]) else x
        elif less(a[x], a[z]):
            pivot = x
        else:
            pivot = z if less(a[y], a[z]) else y
        a[first], a[pivot] = a[pivot], a[first]
        low, high = first + 1, last
        while True:
            while less(a[low], a[first]):
                low += 1
            high -= 1
            while less(a[first], a[high]):
                high -= 1
            if not low < high:
                break
            a[low], a[high] = a[high], a[low]
            low += 1
        _loop(a, low, last, depth, less)
        last = low
