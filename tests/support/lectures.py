"""Lectures written for the tests, with known topics, as timed segments.

`ENGLISH` has punctuation as speech recognition gives it; `CHINESE` has none, one clause per
segment. Blank lines divide the topics; `TOPICS_*` tell what each is about.
"""

from __future__ import annotations

from gs_video_report.report.model import Segment

ENGLISH = """
Okay, good morning everyone, and welcome back. Can everyone hear me? Today we are going to follow
a single click on a link, from the browser to the server and back, and see what happens on the way.
There are four stages: finding the address, opening a connection, protecting the connection, and
finally fetching the page. Each stage has its own protocol, and each one was designed by people who
had to solve a very concrete problem.

So let's start with the first stage, finding the address. Computers on the internet are reached by
IP addresses, which are just numbers, but people remember names. The domain name system, or DNS, is
the distributed directory that translates a name into an IP address. When you type a name, your
computer asks a program called a resolver, usually run by your internet provider. The resolver does
not know all the names in the world. It asks a root server, and the root server points it to the
servers for the ending, such as dot org. Those point to the name server of the domain itself, and
that name server finally knows the answer. To keep this fast, every answer carries a time to live,
and the resolver keeps it in a cache until that time has run out. Caching is the reason why a change
to a DNS record can take hours to be visible everywhere. Um, a common mistake is to lower the time
to live after the move, when it should be done the day before. DNS was designed without protection,
so a forged answer can send a user to the wrong server. DNSSEC adds signatures to DNS records, so
that a resolver can check where an answer comes from.

Now let's move on to the second stage, opening a connection. The internet itself only promises to
try to deliver packets. Packets can be lost, doubled, or arrive in the wrong order. The transmission
control protocol, TCP, builds a reliable stream of bytes on top of unreliable packets. It starts
with the three-way handshake, in which both sides agree on sequence numbers. Every byte has a
sequence number, and the receiver acknowledges what it has got. If an acknowledgement does not come
in time, the sender sends the packet again. The harder question is how fast to send. Congestion
control is the part of TCP that finds out how much the network can carry. It begins with a small
congestion window and doubles the window every round trip, which is called slow start, although it
is not slow at all. When a packet is lost, the sender takes this as a sign of congestion and halves
the window. After that the window grows by one packet per round trip. This pattern, slow growth and
quick retreat, is what keeps the whole internet from collapsing when millions of senders share the
same links. In the nineteen eighties, before congestion control, the network did collapse several
times, and throughput fell by a factor of a thousand.

Okay, so the third stage is protecting the connection. Anyone between you and the server can read
plain TCP traffic. Transport layer security, TLS, gives us three things: confidentiality, integrity
and authentication. Confidentiality means that nobody else can read the data, because it is
encrypted with a key that only the two ends know. The clever part is the key exchange. With the
Diffie-Hellman key exchange two parties agree on a secret key over a public channel without ever
sending the key itself. But encryption is useless if you are talking to the wrong party. That is
what certificates are for. A certificate binds a public key to a domain name, and it is signed by a
certificate authority that your browser trusts. Your browser checks the signature, the name and the
expiry date of the certificate. If any of these checks fails, you see the famous warning page. A
certificate authority that signs carelessly endangers everybody, so all certificates are now written
to public certificate logs. With TLS version 1.3 the whole handshake takes one round trip instead of
two, which you can feel on a mobile phone.

The last stage is fetching the page. The hypertext transfer protocol, HTTP, is a simple exchange of
requests and responses. A request names a method, such as GET or POST, and a path, and the response
carries a status code, headers and a body. The status code tells in three digits how it went: 200 is
success, 404 means not found, and 500 means that the server failed. The most important header for
speed is Cache-Control. It tells the browser how long it may keep a response and use it again
without asking. The fastest request is the one that is never sent. A page today needs about seventy
requests for images, scripts and fonts. HTTP version 2 sends many requests over one connection at
the same time, which is called multiplexing. However, when one packet is lost, TCP holds back all
the requests behind it. This is known as head-of-line blocking. HTTP version 3 therefore leaves TCP
and uses QUIC, a new transport protocol in which a lost packet delays only the request it belongs
to.

So, to summarize: DNS finds the address, TCP gives us a reliable stream, TLS protects it, and HTTP
asks for the page. Each layer hides its problems from the layer above, and that is the key idea that
let the internet grow for fifty years. Next week we will look at how a large web site spreads its
load over many servers. Thank you very much, and see you next time.
"""
TOPICS_ENGLISH = ("introduction", "DNS", "TCP", "TLS", "HTTP", "closing")

CHINESE = """
好 同学们好 我们今天来讲光合作用
光合作用是地球上最重要的化学反应
几乎所有的食物和氧气都来自光合作用
简单地说 光合作用就是绿色植物利用光能
把二氧化碳和水转化成有机物
并且释放出氧气的过程

我们首先来看叶绿体的结构
光合作用是在叶绿体里进行的
叶绿体外面有两层膜
里面充满了基质
基质当中有很多由类囊体堆叠起来的基粒
类囊体的薄膜上分布着光合色素
光合色素分成叶绿素和类胡萝卜素两大类
叶绿素主要吸收红光和蓝紫光
类胡萝卜素主要吸收蓝紫光
绿光被吸收得最少所以叶片看上去是绿色的
提取色素的时候我们要用无水乙醇
加入碳酸钙可以防止叶绿素被破坏
加入二氧化硅可以让研磨更加充分

接下来我们看光合作用的第一个阶段光反应
光反应必须在有光的条件下进行
光反应的场所是类囊体薄膜
色素吸收的光能有两个用途
第一个用途是把水分解成氧气和氢离子
这个过程叫做水的光解
第二个用途是合成三磷酸腺苷
也就是我们常说的ATP
ATP是细胞里直接的能源物质
光反应把光能变成了ATP中活跃的化学能
水的光解产生的电子最后还原了辅酶二
形成了还原型辅酶二

下面我们再来看第二个阶段暗反应
暗反应又叫做碳反应
暗反应有光没有光都可以进行
它的场所是叶绿体基质
暗反应的第一步是二氧化碳的固定
一个二氧化碳分子和一个五碳化合物结合
形成两个三碳化合物
第二步是三碳化合物的还原
三碳化合物接受ATP释放的能量
被还原成糖类和五碳化合物
五碳化合物又可以继续参加二氧化碳的固定
这样就形成了一个循环
这个循环叫做卡尔文循环
科学家卡尔文用碳十四标记二氧化碳
追踪了碳在光合作用中的转移途径

最后我们来讨论影响光合作用强度的因素
第一个因素是光照强度
在一定范围内光照强度越强光合作用强度越大
达到光饱和点以后就不再增加了
第二个因素是二氧化碳浓度
大棚里施用农家肥可以增加二氧化碳浓度
第三个因素是温度
温度通过影响酶的活性来影响光合作用
夏天中午温度太高气孔会关闭
二氧化碳进不来光合作用强度反而下降
这个现象叫做光合午休
在农业生产上我们可以合理密植
延长光照时间来提高作物的产量

总结一下 光反应为暗反应提供ATP和还原型辅酶二
暗反应为光反应提供合成ATP的原料
两个阶段紧密联系缺一不可
好 今天的课就讲到这里 谢谢大家
"""
TOPICS_CHINESE = ("导入", "叶绿体", "光反应", "暗反应", "影响因素", "总结")

_WORDS_PER_S = 2.5
_CHARS_PER_S = 4.0
_TOPIC_PAUSE_S = 1.2


def english_segments(seconds_per_segment: float = 6.0) -> tuple[tuple[Segment, ...], list[float]]:
    """Segments that cut across sentences, and the start of each topic."""
    segments: list[Segment] = []
    starts: list[float] = []
    at = 0.0
    size = round(seconds_per_segment * _WORDS_PER_S)
    for topic in ENGLISH.strip().split("\n\n"):
        words = topic.split()
        starts.append(at)
        for i in range(0, len(words), size):
            part = words[i : i + size]
            end = at + len(part) / _WORDS_PER_S
            segments.append(Segment(round(at, 3), round(end, 3), " ".join(part)))
            at = end
        at += _TOPIC_PAUSE_S
    return tuple(segments), starts


def chinese_segments() -> tuple[tuple[Segment, ...], list[float]]:
    """One clause per segment without punctuation, and the start of each topic."""
    segments: list[Segment] = []
    starts: list[float] = []
    at = 0.0
    for topic in CHINESE.strip().split("\n\n"):
        starts.append(at)
        for line in topic.splitlines():
            end = at + len(line) / _CHARS_PER_S
            segments.append(Segment(round(at, 3), round(end, 3), line))
            at = end + 0.2
        at += _TOPIC_PAUSE_S
    return tuple(segments), starts
