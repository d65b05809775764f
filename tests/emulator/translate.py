"""PTX to C++, one function for each entry: threads of a block one after the other, or as fibres where they meet."""

import re
import sys


def ctype(t):
    if t == "pred":
        return "u8"
    return {"u": "u", "s": "s", "b": "u", "f": "f"}[t[0]] + t[1:]


def operand(x, t, env):
    x = x.strip()
    if x in env["plain"]:
        return "get<%s>(%s)" % (ctype(t), reg("%" + x))
    if x.startswith("-") and not re.match(r"-\d", x):
        return "(-(%s))" % operand(x[1:], t, env)
    special = {"%tid": "T", "%ntid": "NT", "%ctaid": "CT", "%nctaid": "NC"}
    m = re.match(r"(%\w+)\.(x|y|z)$", x)
    if m and m.group(1) in special:
        return "%s.%s" % (special[m.group(1)], m.group(2))
    if x.startswith("!%"):
        return "(!%s)" % operand(x[1:], t, env)
    if x.startswith("%"):
        return "get<%s>(%s)" % (ctype(t), reg(x))
    if re.match(r"0[fFdDxX]", x):
        x = x[:2].lower() + x[2:]
    if x.startswith("0f"):
        return "get<f32>(0x%sull)" % x[2:] if t != "f64" else "(double)get<f32>(0x%sull)" % x[2:]
    if x.startswith("0d"):
        return "get<f64>(0x%sull)" % x[2:]
    if x.startswith("0x") and t == "f16":
        return "get<f16>(%sull)" % x
    if re.match(r"-?(0x)?[0-9A-Fa-f]+U?$", x):
        x = x.rstrip("U")
        return "((%s)(%sll))" % (ctype(t), x)
    if x == "WARP_SZ":
        return "32"
    if x in env["shared"]:
        return "((u64)%d)" % env["shared"][x]
    if x in env["local"]:
        return "((u64)%s)" % x
    return "((u64)G_%s)" % x if x in env["globals"] else fail("operand %r" % x)


def reg(x):
    return "r_" + x.lstrip("%")


def fail(why):
    raise SystemExit("translate: " + why)


def address(x, env):
    """[reg+off], [sym+off]: a byte address, or an offset into shared memory, or a place of a parameter."""
    x = x.strip()[1:-1]
    m = re.match(r"([%\w]+)\s*(?:\+\s*(-?\w+))?$", x) or fail("address %r" % x)
    base, off = m.group(1), int(m.group(2) or "0", 0)
    return base, off


def split(args):
    out, depth, cur = [], 0, ""
    for c in args:
        if c in "{[(":
            depth += 1
        if c in "}])":
            depth -= 1
        if c == "," and depth == 0:
            out.append(cur.strip())
            cur = ""
        else:
            cur += c
    if cur.strip():
        out.append(cur.strip())
    return out


CMP = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "lo": "<",
    "ls": "<=",
    "hi": ">",
    "hs": ">=",
}


def compare(op, t, a, b):
    if t[0] == "f" and op.endswith("u") and op != "u":
        return "(%s != %s || %s != %s || %s %s %s)" % (a, a, b, b, a, CMP[op[:-1]], b)
    if op == "num":
        return "(%s == %s && %s == %s)" % (a, a, b, b)
    if op == "nan":
        return "(%s != %s || %s != %s)" % (a, a, b, b)
    if t[0] == "f" and op == "ne":
        return "(%s == %s && %s == %s && %s != %s)" % (a, a, b, b, a, b)
    return "(%s %s %s)" % (a, CMP[op], b)


def memory(kind, addr, env):
    base, off = address(addr, env)
    if kind == "shared":
        b = "get<u32>(%s)" % reg(base) if base.startswith("%") else str(env["shared"][base])
        return "(SH + %s + %d)" % (b, off)
    if base.startswith("%"):
        return "((char*)get<u64>(%s) + %d)" % (reg(base), off)
    if kind == "param":
        return "((char*)P_%s + %d)" % (base, off)
    if base in env["local"]:
        return "((char*)%s + %d)" % (base, off)
    return "((char*)G_%s + %d)" % (base, off)


def instruction(op, args, env):
    parts = op.split(".")
    name, mods = parts[0], parts[1:]
    a = split(args)
    types = [m for m in mods if re.match(r"^[usbf](8|16|32|64)$", m) or m == "pred"]
    t = types[-1] if types else None

    def v(i, tt=None):
        return operand(a[i], tt or t, env)

    def put(expr, tt=None):
        return "%s = put<%s>(%s);" % (reg(a[0]), ctype(tt or t), expr)

    if name in ("ld", "ldu"):
        kind = next((m for m in mods if m in ("global", "shared", "param", "local", "const")), "global")
        place = memory(kind, a[1], env)
        if a[0].startswith("{"):
            regs = split(a[0][1:-1])
            size = int(t[1:]) // 8
            return " ".join("%s = load<%s>(%s + %d);" % (reg(r), ctype(t), place, i * size) for i, r in enumerate(regs))
        return "%s = load<%s>(%s);" % (reg(a[0]), ctype(t), place)
    if name == "st":
        kind = next((m for m in mods if m in ("global", "shared", "param", "local")), "global")
        place = memory(kind, a[0], env)
        if a[1].startswith("{"):
            regs = split(a[1][1:-1])
            size = int(t[1:]) // 8
            return " ".join(
                "store<%s>(%s + %d, %s);" % (ctype(t), place, i * size, operand(r, t, env)) for i, r in enumerate(regs)
            )
        return "store<%s>(%s, %s);" % (ctype(t), place, v(1))
    if name == "cvta":
        return "%s = %s;" % (reg(a[0]), operand(a[1], "u64", env))
    if name == "mov":
        if a[0].startswith("{"):
            regs = split(a[0][1:-1])
            bits = int(t[1:]) // len(regs)
            src = v(1, "b" + t[1:])
            return (
                "{ u64 s_ = %s; " % src
                + " ".join(
                    "%s = (s_ >> %d) & %s;" % (reg(r), i * bits, "0x%xull" % ((1 << bits) - 1))
                    for i, r in enumerate(regs)
                    if r != "_"
                )
                + " }"
            )
        if a[1].startswith("{"):
            regs = split(a[1][1:-1])
            bits = int(t[1:]) // len(regs)
            return "%s = %s;" % (
                reg(a[0]),
                " | ".join("((u64)%s << %d)" % (operand(r, "b%d" % bits, env), i * bits) for i, r in enumerate(regs)),
            )
        return put(v(1))
    if name in ("add", "sub", "mul", "mad", "madc", "addc", "subc") and t[0] != "f":
        w = int(t[1:])
        u = "u%d" % w
        wide = "wide" in mods
        hi = "hi" in mods
        cc, cin = "cc" in mods, name in ("madc", "addc", "subc")
        if cc or cin:
            big = "unsigned __int128"
            x, y = "(%s)%s" % (big, v(1, u)), "(%s)%s" % (big, v(2, u))
            if name in ("mad", "madc"):
                prod = "(%s * %s)" % (x, y)
                prod = "(%s >> %d)" % (prod, w) if hi else "(%s & (((%s)1 << %d) - 1))" % (prod, big, w)
                total = "%s + (%s)%s" % (prod, big, v(3, u))
            elif name in ("add", "addc"):
                total = "%s + %s" % (x, y)
            else:
                total = "%s - %s" % (x, y)
            if cin:
                total += " - CC" if name == "subc" else " + CC"
            s = "{ %s w_ = %s; %s" % (big, total, put("(%s)w_" % u, u))
            if cc:
                s += " CC = (u64)(w_ >> %d) & 1;" % w
            return s + " }"
        if name in ("add", "sub"):
            return put("%s %s %s" % (v(1), "+" if name == "add" else "-", v(2)))
        if wide:
            big = t[0] + str(2 * w)
            prod = "(%s)%s * (%s)%s" % (ctype(big), v(1), ctype(big), v(2))
            if name == "mad":
                prod += " + " + v(3, big)
            return put(prod, big)
        if hi:
            big = "__int128" if t[0] == "s" else "unsigned __int128"
            prod = "(%s)(((%s)%s * (%s)%s) >> %d)" % (ctype(t), big, v(1), big, v(2), w)
        else:
            prod = "(%s)((u64)%s * (u64)%s)" % (ctype(t), v(1), v(2))
        if name == "mad":
            prod += " + " + v(3)
        return put(prod)
    if name in ("add", "sub", "mul"):
        return put("%s %s %s" % (v(1), {"add": "+", "sub": "-", "mul": "*"}[name], v(2)))
    if name in ("fma", "mad"):
        if "rm" in mods:
            return put("fma_down(%s, %s, %s)" % (v(1), v(2), v(3)))
        return put("fma_(%s, %s, %s)" % (v(1), v(2), v(3)))
    if name in ("div", "rem"):
        if t[0] == "f":
            return put("%s / %s" % (v(1), v(2)))
        return put("%s %s %s" % (v(1), "/" if name == "div" else "%", v(2)))
    if name in ("min", "max"):
        f = name + ("_nan" if "NaN" in mods else "_")
        return put("%s<%s>(%s, %s)" % (f, ctype(t), v(1), v(2)))
    if name == "abs":
        return put("abs_<%s>(%s)" % (ctype(t), v(1)))
    if name == "neg":
        return put("(%s)-%s" % (ctype(t), v(1)))
    if name == "not":
        return put("!%s" % v(1)) if t == "pred" else put("(%s)~%s" % (ctype(t), v(1)))
    if name in ("and", "or", "xor"):
        return put("%s %s %s" % (v(1), {"and": "&", "or": "|", "xor": "^"}[name], v(2)))
    if name == "shl":
        return put("shl_<%s>(%s, %s)" % (ctype(t), v(1), v(2, "u32")))
    if name == "shr":
        return put("shr_<%s>(%s, %s)" % (ctype(t), v(1), v(2, "u32")))
    if name == "setp":
        op = mods[0]
        c = compare(op, t, v(1), v(2))
        if mods[1] in ("and", "or", "xor"):
            c = "(%s %s %s)" % (c, {"and": "&&", "or": "||", "xor": "!="}[mods[1]], operand(a[3], "pred", env))
        if "|" in a[0]:
            p, q = a[0].split("|")
            return "%s = %s; %s = !%s;" % (reg(p), c, reg(q), reg(p))
        return "%s = %s;" % (reg(a[0]), c)
    if name == "set":
        dt, st = types
        c = compare(mods[0], st, v(1, st), v(2, st))
        one = "1.0f" if dt[0] == "f" else "(%s)-1" % ctype(dt)
        return put("%s ? (%s)%s : (%s)0" % (c, ctype(dt), one, ctype(dt)), dt)
    if name == "selp":
        return put("%s ? %s : %s" % (operand(a[3], "pred", env), v(1), v(2)))
    if name == "cvt":
        dt, st = types
        x = v(1, st)
        rnd = next((m for m in mods if m in ("rzi", "rni", "rmi", "rpi")), None)
        if rnd:
            x = "%s((%s)%s)" % ({"rzi": "trunc", "rni": "nearbyint", "rmi": "floor", "rpi": "ceil"}[rnd], "double", x)
        if "sat" in mods and dt[0] == "f":
            x = "sat_(%s)" % x
        if st[0] == "f" and dt[0] != "f":
            return put("to_int<%s>(%s)" % (ctype(dt), x), dt)
        # A register is wider than what it holds: signs go all the way.
        return put("(%s)%s" % (ctype(dt), x), dt)
    if name == "copysign":
        return put("copysign_(%s, %s)" % (v(2), v(1)))
    if name in ("rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh"):
        return put("%s_(%s)" % (name, v(1)))
    if name == "clz":
        return "%s = clz_<%s>(%s);" % (reg(a[0]), ctype(t), v(1))
    if name == "bfi":
        return put("bfi_<%s>(%s, %s, %s, %s)" % (ctype(t), v(1), v(2), v(3, "u32"), v(4, "u32")))
    if name in ("atom", "red"):
        kind = "shared" if "shared" in mods else "global"
        op = next(m for m in mods if m in ("add", "min", "max", "cas", "exch"))
        d = None if name == "red" or a[0] == "_" else reg(a[0])
        k = 0 if name == "red" else 1
        place = memory(kind, a[k], env)
        old = "%s o_ = get<%s>(load<%s>(%s));" % (ctype(t), ctype(t), ctype(t), place)
        x = operand(a[k + 1], t, env)
        new = {
            "add": "o_ + %s" % x,
            "min": "min_<%s>(o_, %s)" % (ctype(t), x),
            "max": "max_<%s>(o_, %s)" % (ctype(t), x),
            "exch": x,
        }.get(op)
        if op == "cas":
            new = "o_ == %s ? %s : o_" % (x, operand(a[k + 2], t, env))
        return "{ %s store<%s>(%s, %s); %s }" % (
            old,
            ctype(t),
            place,
            new,
            "%s = put<%s>(o_);" % (d, ctype(t)) if d else "",
        )
    if name in ("bar", "barrier"):
        return "MEET();"
    if name in ("membar", "fence"):
        return ";"
    if name in ("ret", "exit"):
        return "return;"
    if name == "trap":
        return "abort();"
    if name == "bra":
        return "goto %s;" % a[0]
    if name == "call":
        m = re.match(r"(?:\((\w+)\)\s*,\s*)?(\w+)\s*,\s*\(([^)]*)\)", args) or fail("call %r" % args)
        ret, f, ps = m.groups()
        if f == "__assertfail":
            return "fail_(B_NAME);"
        ps = [p.strip() for p in ps.split(",") if p.strip()]
        return "F_%s(%s);" % (f, ", ".join(["P_" + ret if ret else "0"] + ["P_" + p for p in ps]))
    fail("instruction %r %r" % (op, args))


def pieces(text):
    """Entries and functions as (kind, header, body), and the text beside them: bodies are found by their braces, which nest."""
    found, outside, pos = [], "", 0
    head = re.compile(r"(\.visible\s+|\.weak\s+|\.extern\s+)?\.(entry|func)\b")
    while m := head.search(text, pos):
        outside += text[pos : m.start()]
        brace, semi = text.find("{", m.end()), text.find(";", m.end())
        if 0 <= semi < brace:  # a declaration
            pos = semi + 1
            continue
        depth, pos = 1, brace + 1
        while depth:
            depth += {"{": 1, "}": -1}.get(text[pos], 0)
            pos += 1
        found.append((m.group(2), text[m.end() : brace], text[brace + 1 : pos - 1]))
    return found, outside + text[pos:]


def global_variables(outside, env):
    code = []
    declared = re.compile(
        r"\.(?:visible\s+)?\.?(?:global|const)\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(\w+)(?:\[(\d*)\])?"
        r"(?:\s*=\s*(\{[^}]*\}|[^;]+))?;"
    )
    for t, name, n, init in declared.findall(outside):
        env["globals"][name] = True
        values = [] if t.startswith("f") else [x.strip() for x in init.strip("{} \n").split(",") if x.strip()]
        suffix = "ull" if t.endswith("64") else ""
        listed = ",".join(x + suffix for x in values)
        code.append("static %s G_%s[%s] = {%s};" % (ctype(t), name, n or len(values) or 1, listed))
    return code


def share(env, name, size):
    """A place in the memory of a block of threads."""
    env["shared"][name] = env["size"]
    env["size"] += (size + 15) // 16 * 16


def declare(s, env, found):
    """A declaration within a body; `.pragma` and the like say nothing."""
    if s.startswith(".reg"):
        names = re.match(r"\.reg\s*\.\w+\s+(.*)$", s) or fail(s)
        for r in names.group(1).split(","):
            r = r.strip()
            if not r.startswith("%"):
                env["plain"].add(r)
            name, n = re.match(r"%?(\w+)(?:<(\d+)>)?", r).groups()
            # A dictionary keeps the order, and each once.
            found["registers"] |= dict.fromkeys([name + str(i) for i in range(int(n))] if n else [name])
    elif s.startswith(".local"):
        m = re.match(r"\.local\s+\.align\s+\d+\s+\.b8\s+(\w+)\[(\d+)\]", s)
        env["local"][m.group(1)] = True
        found["locals"].append("alignas(16) char %s[%s];" % m.groups())
    elif s.startswith(".shared"):
        name, size = re.match(r"\.shared\s+\.align\s+\d+\s+\.\w+\s+(\w+)(?:\[(\d+)\])?", s).groups()
        share(env, name, int(size or 8))
    elif s.startswith(".param"):
        found["params"][re.search(r"(\w+)(?:\[\d+\])?\s*$", s).group(1)] = True


def translated(name, body, env):
    """The statements of a body in C++, and whether its threads meet."""
    env["local"], env["plain"] = {}, set()
    found = {"registers": {}, "locals": [], "params": {}}
    lines = []
    for statement in re.sub(r"(\w+):(?!:)", r"\1:;", body).split(";"):
        s = " ".join(statement.split())
        while s and s[0] in "{}":
            s = s[1:].strip()
        if not s:
            continue
        if s.endswith(":"):
            lines.append(s + ";")
            continue
        if s.startswith("."):
            declare(s, env, found)
            continue
        p = re.match(r"@(!?)%(\w+)\s+(.*)$", s)
        s = p.group(3) if p else s
        op, _, args = s.partition(" ")
        c = instruction(op, args, env)
        lines.append("if (%sr_%s) { %s }" % (p.group(1), p.group(2), c) if p else c)
    head = ["u64 CC = 0; (void)CC;"] + found["locals"]
    if found["registers"]:
        head.append("u64 %s;" % ", ".join("r_" + r + " = 0" for r in found["registers"]))
    head += ["char P_%s[16];" % p for p in found["params"]]
    lines = [line.replace("B_NAME", '"%s"' % name) for line in lines]
    return "\n".join(head + lines) + "\n", "MEET();" in " ".join(lines)


def last_name(declaration):
    return re.search(r"(\w+)(?:\[\d+\])?\s*$", declaration).group(1)


def main(source, out):
    text = re.sub(r"//[^\n]*", "", source.replace("$", "_S_"))
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    env = {"globals": {}, "shared": {}, "size": 0, "local": {}, "plain": set()}
    found, outside = pieces(text)
    code = global_variables(outside, env)
    for extern, name, size in re.findall(r"(\.extern\s+)?\.shared\s+\.align\s+\d+\s+\.b8\s+(\w+)\[(\d*)\]", outside):
        if extern:
            env["shared"][name] = 0
        else:
            share(env, name, int(size))
    functions, bodies, entries = [], [], []
    for kind, header, body in found:
        ret, name, params = re.match(r"\s*(?:\(([^)]*)\))?\s*(\w+)\s*(?:\(([^)]*)\))?", header).groups()
        names = [last_name(p) for p in (params or "").split(",") if p.strip()]
        body, meets = translated(name, body, env)
        if kind == "entry":
            binds = "".join("void* P_%s = ARGS[%d];\n" % (n, i) for i, n in enumerate(names))
            signature = "B_%s(void** ARGS, char* SH, Dim T, Dim NT, Dim CT, Dim NC)" % name
            bodies.append("static void %s {\n%s%s}\n" % (signature, binds, body))
            entries.append((name, meets))
        else:
            answer = last_name(ret) if ret and ret.strip() else "none"
            arguments = ", ".join("void* P_" + n for n in [answer, *names])
            functions.append("static void F_%s(%s) {\n%s}\n" % (name, arguments, body))
    with open(out, "w") as f:
        f.write('#include "kernel.h"\n' + "\n".join(code) + "\n" + "\n".join(functions) + "\n" + "\n".join(bodies))
        for name, meets in entries:
            f.write('extern "C" void %s(void** args, Dim grid, Dim block, unsigned dynamic) { ' % name)
            f.write("run(B_%s, args, grid, block, %d + dynamic, %d); }\n" % (name, env["size"], meets))


main(open(sys.argv[1]).read(), sys.argv[2])
