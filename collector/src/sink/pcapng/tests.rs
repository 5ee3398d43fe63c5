use super::*;
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;

fn file(fill: impl FnOnce(&mut Pcapng)) -> Vec<Block<'static>> {
    let mut file = Pcapng::new(&Section { os: "Linux".into(), comment: "port=80".into() }).unwrap();
    fill(&mut file);
    let bytes = file.blocks().to_vec();
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let mut blocks = vec![];
    while let Some(block) = reader.next_block() {
        blocks.push(block.unwrap().into_owned());
    }
    assert_eq!(ends(&bytes).count(), blocks.len() + 1, "the section header is a block, too");
    assert_eq!(ends(&bytes).last().map(|(end, _)| end), Some(bytes.len()));
    blocks
}

fn eth0(file: &mut Pcapng) -> u32 {
    file.interface(&Interface { name: "n1/eth0".into(), filter: "port=80".into(), ..Interface::default() }).unwrap()
}

#[test]
fn a_packet_comes_out_as_it_went_in() {
    let comments = ["Source".to_owned(), "Common\nBytes: 5B".to_owned()];
    let frame = Frame {
        interface: 0,
        time_ns: 1_700_000_000_123_456_789,
        original: 1514,
        data: b"hello",
        direction: Direction::Out,
        id: 0xfedc_ba98_7654_3210,
        dropped: true,
        lost: 7,
        comments: &comments,
    };
    let blocks = file(|file| {
        eth0(file);
        file.packet(&frame);
    });
    let [Block::InterfaceDescription(interface), Block::EnhancedPacket(packet)] = &blocks[..] else {
        panic!("{blocks:?}")
    };
    assert_eq!(interface.snaplen, MAX_SNAPLEN);
    assert!(interface.options.contains(&InterfaceDescriptionOption::IfTsResol(9)));
    assert_eq!((packet.timestamp.as_nanos() as u64, packet.original_len), (frame.time_ns, 1514));
    assert_eq!((&*packet.data, packet.interface_id), (&b"hello"[..], 0));
    let told: Vec<_> = packet.options.iter().map(|option| format!("{option:?}")).collect();
    assert_eq!(packet.options[0], EnhancedPacketOption::Flags(2));
    assert!(packet.options.contains(&EnhancedPacketOption::DropCount(7)), "{told:?}");
    assert!(packet.options.contains(&EnhancedPacketOption::Comment("Common\nBytes: 5B".into())), "{told:?}");
    assert_eq!(packet.options.len(), 6);
}

#[test]
fn packets_of_any_length_keep_the_file_whole() {
    for length in 0..9 {
        let blocks = file(|file| {
            eth0(file);
            file.packet(&Frame { data: &vec![7; length], ..Frame::default() });
            file.packet(&Frame { data: &[8; 64], id: 1, ..Frame::default() });
        });
        let Block::EnhancedPacket(packet) = &blocks[1] else { panic!("{blocks:?}") };
        assert_eq!((packet.data.len(), blocks.len()), (length, 3));
    }
}

#[test]
fn names_secrets_and_statistics_are_blocks() {
    let counted =
        Statistics { start_ns: 1 << 32, end_ns: 0x1234_5678_9abc_def0, received: 5, lost: 2, ..Statistics::default() };
    let names = [("10.0.0.1".parse().unwrap(), "a.demo".into()), ("fd00::1".parse().unwrap(), "node".into())];
    let blocks = file(|file| {
        eth0(file);
        file.names(&names).unwrap();
        file.secrets(b"CLIENT_RANDOM 01 02\n").unwrap();
        file.statistics(0, &counted).unwrap();
    });
    let [_, Block::NameResolution(names), Block::Unknown(secrets), Block::InterfaceStatistics(statistics)] =
        &blocks[..]
    else {
        panic!("{blocks:?}")
    };
    assert_eq!(names.records.len(), 2);
    assert_eq!(&secrets.value[8..], b"CLIENT_RANDOM 01 02\n");
    assert_eq!(statistics.timestamp, 0x9abc_def0_1234_5678, "upper half first");
    assert!(statistics.options.contains(&InterfaceStatisticsOption::IsbIfDrop(2)));
}

#[test]
fn a_text_that_is_too_long_is_cut() {
    let comments = ["é".repeat(40_000)];
    let blocks = file(|file| {
        eth0(file);
        file.packet(&Frame { comments: &comments, ..Frame::default() });
    });
    assert!(matches!(&blocks[1], Block::EnhancedPacket(packet) if packet.options.len() == 2));
}

#[test]
fn a_cut_file_ends_behind_its_last_whole_block() {
    let mut file = Pcapng::new(&Section::default()).unwrap();
    let head = file.blocks().len();
    eth0(&mut file);
    let described = file.blocks().len();
    file.packet(&Frame::default());
    let whole = file.blocks();
    let last = |len: usize| ends(&whole[..len]).last();
    assert_eq!(last(head), Some((head, false)));
    assert_eq!(last(described + 5), Some((described, false)));
    assert_eq!(last(whole.len()), Some((whole.len(), true)));
}
